"""A sheet of samples: one row of images per class, as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from weightscape.data.dataset import Dataset
from weightscape.errors import DataError

_SHOWN = 64
"""Pixels that an image of a saved sheet has at least, if it is smaller."""


def sheet(
    dataset: Dataset, *, per_class: int = 8, split: Literal["train", "validation", "test"] = "train", gap: int = 1
) -> Tensor:
    """Return the first images of each class as one picture, a row per class; places without an image stay white.

    Args:
        dataset: The data set.
        per_class: Images per row.
        split: Split from which they come.
        gap: White pixels around each image.

    Returns:
        Picture ``(C, height, width)`` uint8, on the CPU.

    Raises:
        DataError: If `per_class` is not positive.
    """
    if per_class < 1:
        raise DataError(f"A sheet shows at least one image per class, received per_class {per_class}.")
    part = getattr(dataset, split)
    channels, height, width = dataset.shape
    rows, count = height + gap, len(dataset.classes)
    picture = torch.full((channels, count * rows + gap, per_class * (width + gap) + gap), 255, dtype=torch.uint8)
    for label in range(count):
        chosen = (part.labels == label).nonzero().squeeze(1)[:per_class]
        for place, image in enumerate(part.images[chosen].cpu()):
            top, left = gap + label * rows, gap + place * (width + gap)
            picture[:, top : top + height, left : left + width] = image
    return picture


def save_sheet(
    dataset: Dataset, path: str | Path, *, per_class: int = 8, split: Literal["train", "validation", "test"] = "train"
) -> Path:
    """Write a sheet of samples as a picture and return its path; small images are enlarged by whole pixels.

    Args:
        dataset: The data set.
        path: File to write; its suffix says the format.
        per_class: Images per row.
        split: Split from which they come.

    Raises:
        DataError: If the file cannot be written, or its suffix is that of no picture.
    """
    from PIL import Image

    picture = sheet(dataset, per_class=per_class, split=split)
    factor = max(1, _SHOWN // max(dataset.shape[1:]))
    pixels = picture.repeat_interleave(factor, 1).repeat_interleave(factor, 2).permute(1, 2, 0).numpy()
    try:
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(path)
    except (OSError, ValueError) as error:
        raise DataError(f"The sheet cannot be written to {path}: {error}. Name a file like sheet.png.") from error
    return Path(path)
