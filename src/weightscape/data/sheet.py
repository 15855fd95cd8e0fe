"""A sheet of samples: one row of images per class, as one picture."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from weightscape.data.dataset import Dataset
from weightscape.errors import DataError


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
