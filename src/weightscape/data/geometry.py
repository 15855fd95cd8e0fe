"""Resize and turn whole batches of bytes on their device, as Pillow does it to one image.

Arithmetic follows Pillow's: fixed-point places for the nearest pixel, weights that widen when an image shrinks, a
rounding after each of the two passes of a resize. What is left of a difference is
measured in ``tests/data/test_geometry.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from weightscape.data.transforms import Interpolation

_FIXED = 1 << 16
_WEIGHT = 1 << 22
_TRUNCATED = 1e-4
"""Added before bilinear means are truncated, so that rounding in float32 takes no level from a whole number."""


def resized_boxes(images: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a part of each image, resized bilinearly; smoothed where it shrinks.

    Args:
        images: Batch ``(b, C, H, W)`` uint8.
        boxes: Top, left, height and width of the parts ``(b, 4)``.
        size: New height and width.

    Returns:
        Batch ``(b, C, *size)`` uint8.
    """
    top, left, height, width = boxes.double().unbind(1)
    across = _weights(left, width, images.shape[3], size[1])
    down = _weights(top, height, images.shape[2], size[0])
    batch, channels, rows, columns = images.shape
    # Whole numbers below 2 ** 53: these products and sums are exact.
    wide = images.double().view(batch, channels * rows, columns) @ across.transpose(1, 2)
    wide = _rounded(wide).view(batch, channels, rows, size[1])
    return _rounded(down.unsqueeze(1) @ wide).to(torch.uint8)


def _weights(start: Tensor, length: Tensor, before: int, after: int) -> Tensor:
    """Return the weight of each of `before` pixels in each of `after` pixels ``(b, after, before)``, times 2 ** 22."""
    step = (length / after).view(-1, 1, 1)
    place = torch.arange(before, device=start.device, dtype=torch.float64) + 0.5
    centre = start.view(-1, 1, 1) + (torch.arange(after, device=start.device).view(-1, 1) + 0.5) * step
    weight = (1 - (place - centre).abs() / step.clamp(min=1)).clamp(min=0)
    inside = (place > start.view(-1, 1, 1)) & (place < (start + length).view(-1, 1, 1))
    weight = weight * inside
    return (weight / weight.sum(2, keepdim=True) * _WEIGHT + 0.5).floor()


def _rounded(values: Tensor) -> Tensor:
    return values.div_(_WEIGHT).add_(0.5).floor_().clamp_(0, 255)


def mapped(images: Tensor, maps: Tensor, *, interpolation: Interpolation, fill: int) -> Tensor:
    """Return images whose pixels come from the places that affine maps say.

    Args:
        images: Batch ``(b, C, H, W)`` uint8.
        maps: From places ``(x, y)`` of the result to places of the image ``(b, 2, 3)``; pixels are squares of side 1
            and the first has its corner at 0.
        interpolation: The nearest pixel, or a bilinear mean of four.
        fill: Level of what comes from outside the image.
    """
    return _nearest(images, maps, fill) if interpolation == "nearest" else _bilinear(images, maps, fill)


def _nearest(images: Tensor, maps: Tensor, fill: int) -> Tensor:
    batch, channels, height, width = images.shape
    x = torch.arange(width, device=images.device)
    y = torch.arange(height, device=images.device).view(-1, 1)
    middle = maps[:, :, 2] + maps[:, :, :2].sum(2) / 2
    steps = _fixed(torch.cat([maps[:, :, :2], middle.unsqueeze(2)], 2)).view(batch, 2, 3, 1, 1)
    places = (steps[:, :, 2] + y * steps[:, :, 1] + x * steps[:, :, 0]) >> 16
    limits = torch.tensor([width, height], device=images.device).view(2, 1, 1)
    inside = ((places >= 0) & (places < limits)).all(1)
    column, row = places.clamp(min=torch.zeros_like(limits), max=limits - 1).unbind(1)
    flat = (row * width + column).view(batch, 1, -1).expand(batch, channels, -1)
    found = images.reshape(batch, channels, -1).gather(2, flat).view_as(images)
    return torch.where(inside.unsqueeze(1), found, torch.full((), fill, dtype=images.dtype, device=images.device))


def _fixed(values: Tensor) -> Tensor:
    return (values * _FIXED + 0.5).floor().long()


def _bilinear(images: Tensor, maps: Tensor, fill: int) -> Tensor:
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device, dtype=torch.float64) + 0.5
    y = (torch.arange(height, device=images.device, dtype=torch.float64) + 0.5).view(-1, 1)
    linear = maps.view(-1, 2, 3, 1, 1)
    places = linear[:, :, 0] * x + linear[:, :, 1] * y + linear[:, :, 2]
    limits = torch.tensor([width, height], device=images.device, dtype=torch.float64).view(2, 1, 1)
    inside = ((places >= 0) & (places < limits)).all(1)
    grid = (2 * places / limits - 1).permute(0, 2, 3, 1).float()
    found = grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    found = torch.where(inside.unsqueeze(1), found, float(fill))
    return found.add_(_TRUNCATED).floor_().clamp_(0, 255).to(torch.uint8)
