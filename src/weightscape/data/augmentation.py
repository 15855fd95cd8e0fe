"""Random crops and flips of whole batches on their device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from weightscape.data.transforms import NamedAugmentation

PADDING = 4


@dataclass(frozen=True)
class Draws:
    """What is done to each image of a sequence.

    Attributes:
        crop: Row and column of the crop's corner in the padded image ``(n, 2)`` int64, or None for no crop.
        flip: Whether the crop is mirrored left to right ``(n,)`` bool, or None for no flip.
    """

    crop: Tensor | None
    flip: Tensor | None

    def take(self, rows: slice | Tensor) -> Draws:
        """Return the draws of some of the images."""
        return Draws(None if self.crop is None else self.crop[rows], None if self.flip is None else self.flip[rows])


def draw(
    count: int, augment: NamedAugmentation, *, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Draws:
    """Draw the augmentation of `count` images.

    Numbers are drawn where the generator lives and moved at once, so that every device sees the same augmentation and
    no batch waits for a transfer.

    Args:
        count: Number of images.
        augment: Which augmentations are in use.
        generator: Source of randomness, on the CPU.
        device: Where the images are.
    """
    crop = torch.randint(0, 2 * PADDING + 1, (count, 2), generator=generator) if "pad-crop" in augment else None
    flip = torch.randint(0, 2, (count,), generator=generator).bool() if "flip" in augment else None
    return Draws(None if crop is None else crop.to(device), None if flip is None else flip.to(device))


def apply(images: Tensor, draws: Draws) -> Tensor:
    """Return augmented images; crops are taken from images with four black pixels around them.

    Args:
        images: Batch ``(b, C, H, W)``, of any type; black is 0.
        draws: What is done to each image.

    Returns:
        New batch of the same shape and type.
    """
    if draws.crop is None:
        if draws.flip is None:
            return images.clone()
        return torch.where(draws.flip[:, None, None, None], images.flip(3), images)
    batch, channels, height, width = images.shape
    padded = pad(images, (PADDING, PADDING, PADDING, PADDING))
    columns = torch.arange(width, device=images.device).expand(batch, width)
    if draws.flip is not None:
        columns = torch.where(draws.flip[:, None], columns.flip(1), columns)
    rows = torch.arange(height, device=images.device) + draws.crop[:, :1]
    # One gather of flat positions does crop and flip: half the time of a doubly unfolded view, a fifth of indexing.
    positions = rows[:, :, None] * padded.shape[3] + (columns + draws.crop[:, 1:])[:, None, :]
    flat = positions.view(batch, 1, height * width).expand(batch, channels, height * width)
    return padded.view(batch, channels, -1).gather(2, flat).view_as(images)
