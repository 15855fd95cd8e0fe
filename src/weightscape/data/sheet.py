"""A sheet of samples: one row of images per class, as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from weightscape.data.dataset import Dataset
from weightscape.data.pipeline import draw_pipeline
from weightscape.data.transforms import Augmentation
from weightscape.errors import DataError

_SHOWN = 64
"""Pixels that an image of a saved sheet has at least, if it is smaller."""
_LETTER = 7
_LONGEST_NAME = 20


def sheet(
    dataset: Dataset,
    *,
    per_class: int = 8,
    split: Literal["train", "validation", "test"] = "train",
    augment: Augmentation = "none",
    gap: int = 1,
) -> Tensor:
    """Return the first images of each class as one picture, a row per class; places without an image stay white.

    Args:
        dataset: The data set.
        per_class: Images per row.
        split: Split from which they come.
        augment: What is done to the images first; mixup is left out.
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
        of_class = part.labels == label if part.labels.ndim == 1 else part.labels[:, label] == 1
        chosen = of_class.nonzero().squeeze(1)[:per_class]
        pipeline = draw_pipeline(
            len(chosen), augment, (height, width), seed=0, index=("sheet", label), border=part.border
        )
        for place, image in enumerate(pipeline.apply(part.images[chosen].cpu(), slice(0, len(chosen)))):
            top, left = gap + label * rows, gap + place * (width + gap)
            picture[:, top : top + height, left : left + width] = image
    return picture


def save_sheet(
    dataset: Dataset,
    path: str | Path,
    *,
    per_class: int = 8,
    split: Literal["train", "validation", "test"] = "train",
    augment: Augmentation = "none",
) -> Path:
    """Write a sheet of samples with the names of the classes as a picture and return its path.

    Small images are enlarged by whole pixels.

    Args:
        dataset: The data set.
        path: File to write; its suffix says the format.
        per_class: Images per row.
        split: Split from which they come.
        augment: What is done to the images first; mixup is left out.

    Raises:
        DataError: If the file cannot be written, or its suffix is that of no picture.
    """
    picture = sheet(dataset, per_class=per_class, split=split, augment=augment)
    factor = max(1, _SHOWN // max(dataset.shape[1:]))
    larger = picture.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    pixels = larger.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    try:
        _named(pixels, dataset.classes, row=factor * (dataset.shape[1] + 1)).save(path)
    except (OSError, ValueError) as error:
        raise DataError(f"The sheet cannot be written to {path}: {error}. Name a file like sheet.png.") from error
    return Path(path)


def _named(pixels: Any, classes: tuple[str, ...], *, row: int) -> Any:
    """Return the picture with the name of each class at the left of its row."""
    from PIL import Image, ImageDraw

    names = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 2]}.." for name in classes]
    margin = _LETTER * max(map(len, names)) + 2 * _LETTER
    height, width = pixels.shape[:2]
    picture = Image.new("RGB", (margin + width, height), "white")
    picture.paste(Image.fromarray(pixels), (margin, 0))
    canvas = ImageDraw.Draw(picture)
    for label, name in enumerate(names):
        canvas.text((margin - _LETTER, label * row + row // 2), name, fill="black", anchor="rm", font_size=12)
    return picture
