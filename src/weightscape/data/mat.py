"""Read the cropped digits of SVHN: MATLAB files of images ``(32, 32, 3, n)`` and labels 1 to 10."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weightscape.errors import DataError


def read_svhn(path: Path) -> tuple[Tensor, Tensor]:
    """Return the images ``(n, 3, 32, 32)`` uint8 and the labels ``(n,)`` int64, where label 10 became 0.

    Takes twice the memory of the images while it reads.

    Raises:
        DataError: If the file is truncated, damaged or holds something else.
    """
    found = _variables(path)
    images, labels = found["X"], found["y"].ravel()
    if images.dtype != "uint8" or images.ndim != 4 or images.shape[2] != 3:
        raise DataError(
            f"{path}: expected X as bytes of height x width x 3 x n, received {images.dtype} of shape {images.shape}."
        )
    if labels.dtype.kind not in "ui" and not (labels.dtype.kind == "f" and (labels == labels.round()).all()):
        raise DataError(f"{path}: expected y as whole numbers, received {labels.dtype}.")
    numbers = torch.from_numpy(labels.astype("int64"))
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) <= 10:
        raise DataError(f"{path}: expected labels from 1 to 10, received {int(numbers.min())} to {int(numbers.max())}.")
    # MATLAB is column-major: the last axis becomes the first without a copy, then one copy orders the rest.
    return torch.from_numpy(images).permute(3, 2, 0, 1).contiguous(), numbers % 10


def _variables(path: Path) -> dict[str, Any]:
    import numpy
    from scipy.io import loadmat

    try:
        found = loadmat(path, variable_names=("X", "y"))
    except Exception as error:  # whatever a damaged file raises: zlib, struct, memory, missing formats
        raise DataError(f"{path} is no complete MATLAB file: {error}. Fetch it again.") from error
    for name in ("X", "y"):
        if not isinstance(found.get(name), numpy.ndarray):
            raise DataError(f"{path} has no array {name!r}; expected the cropped digits, images X and labels y.")
    return found  # type: ignore[no-any-return]
