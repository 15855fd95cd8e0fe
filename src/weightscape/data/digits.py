"""Read scikit-learn's digits from the file it brings, without importing scikit-learn."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from weightscape.data.files import read_content
from weightscape.errors import DataError

_TEST_EVERY = 5
_GREY_LEVELS = 16


def read_digits(path: Path) -> tuple[Tensor, Tensor]:
    """Return the images ``(n, 1, 8, 8)`` uint8, grey levels 0 to 16 stretched to 0 to 255, and labels ``(n,)`` int64.

    Raises:
        DataError: If a line of the file is not 64 grey levels and a label.
    """
    try:
        rows = [[int(value) for value in line.split(b",")] for line in read_content(path).splitlines()]
        table = torch.tensor(rows)
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}. Reinstall scikit-learn.") from error
    if table.ndim != 2 or table.shape[1] != 65:
        raise DataError(f"{path} is damaged: expected lines of 65 numbers. Reinstall scikit-learn.")
    levels = table[:, :64]
    if levels.min() < 0 or levels.max() > _GREY_LEVELS:
        raise DataError(f"{path} is damaged: grey levels must lie in 0 to {_GREY_LEVELS}. Reinstall scikit-learn.")
    images = (levels * 255 / _GREY_LEVELS).round().to(torch.uint8).view(-1, 1, 8, 8)
    return images, table[:, 64].clone()


def test_rows(labels: Tensor) -> Tensor:
    """Return which images are the test set: every fifth of each class, in file order.

    The file repeats 0, 1, ..., 9, so that every fifth *row* would be a test set of two classes.

    Args:
        labels: Label of each row ``(n,)``.

    Returns:
        Mask ``(n,)`` bool.
    """
    one_hot = torch.nn.functional.one_hot(labels)
    rank = one_hot.cumsum(0).gather(1, labels[:, None]).squeeze(1)
    return rank % _TEST_EVERY == 0
