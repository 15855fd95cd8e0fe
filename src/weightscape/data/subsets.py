"""Which images are training and which validation: seeded, stratified, nested.

Each class is cut by its own random stream, which depends on the seed and the label alone. Hence an image is never
training under one set of classes and validation under another, a smaller fraction is part of a larger one, and the
validation split does not depend on the fraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.seeds import stream


def rounded_share(share: float, count: int) -> int:
    """Return ``share * count``, halves rounded up, of the share as it is written.

    >>> rounded_share(0.1, 6265)
    627
    """
    return int((Decimal(repr(share)) * count).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def training_and_validation(
    labels: Tensor, classes: Sequence[int], *, validation: float, fraction: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the rows of the training and of the validation split, both ascending.

    Args:
        labels: Label of each row of the official training set ``(n,)``.
        classes: Labels that are kept.
        validation: Share of each class that becomes validation.
        fraction: Share of the rest of each class that is kept for training.
        seed: Seed of both choices.

    Raises:
        DataError: If a class has no training image left, or no validation image is left at all.
    """
    training, held_out = [], []
    for label in classes:
        rows = (labels == label).nonzero().squeeze(1)
        if not len(rows):
            raise DataError(
                f"No training image is of class {label}. Classes are numbered from 0 without gaps: expected labels up "
                f"to {max(classes)}, each at least once. Number the labels anew, or name in 'classes' those to keep."
            )
        rows = rows[torch.randperm(len(rows), generator=stream(seed, "split", label))]
        cut = rounded_share(validation, len(rows))
        held_out.append(rows[:cut])
        training.append(_fraction(rows[cut:], fraction, seed, label))
        if not len(training[-1]):
            raise DataError(
                f"Class {label} has no training image left: of {len(rows)}, {cut} are validation ({validation}) and "
                f"fraction {fraction} keeps none of the other {len(rows) - cut}. Raise fraction or lower validation."
            )
    if not sum(map(len, held_out)):
        raise DataError(
            f"No validation image is left: a share of {validation} of {len(labels)} training images is none of any "
            "class. Raise validation."
        )
    return torch.cat(training).sort().values, torch.cat(held_out).sort().values


def _fraction(rows: Tensor, fraction: float, seed: int, label: int) -> Tensor:
    order = torch.randperm(len(rows), generator=stream(seed, "subset", label))
    return rows[order[: rounded_share(fraction, len(rows))]]


def renumbered(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """Return the position of each label in `classes`, which must contain all of them.

    >>> renumbered(torch.tensor([7, 3, 7]), [7, 3])
    tensor([0, 1, 0])
    """
    table = torch.full((max(classes) + 1,), -1)
    table[list(classes)] = torch.arange(len(classes))
    return table[labels]


def rows_of_classes(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """Return the rows whose label is one of `classes`, ascending."""
    return torch.isin(labels, torch.tensor(list(classes))).nonzero().squeeze(1)
