"""Resize and turn whole batches of bytes on their device, as Pillow does it to one image.

Arithmetic follows Pillow's: fixed-point places for the nearest pixel, weights that widen when an image shrinks, a
rounding after each of the two passes of a resize. What is left of a difference is measured in
``tests/data/test_geometry.py``. Places are computed in float64, in float32 on a device without it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from weightscape.data.transform_settings import Interpolation
from weightscape.weights.algebra import precise_dtype

_FIXED = 1 << 16
_FAR = 1e9
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
    top, left, height, width = boxes.to(precise_dtype(boxes.device)).unbind(1)
    across = _weights(left, width, images.shape[3], size[1])
    down = _weights(top, height, images.shape[2], size[0])
    batch, channels, rows, columns = images.shape
    # In this order of axes each pass is one product per image, and nothing is moved in between.
    lines = images.permute(0, 2, 1, 3).to(torch.float32, memory_format=torch.contiguous_format)
    wide = (lines.view(batch, rows * channels, columns) @ across.transpose(1, 2)).add_(0.5).floor_()
    high = (down @ wide.view(batch, rows, channels * size[1])).add_(0.5).to(torch.uint8)
    return high.view(batch, size[0], channels, size[1]).transpose(1, 2).contiguous()


def _weights(start: Tensor, length: Tensor, before: int, after: int) -> Tensor:
    """Return the weight of each of `before` pixels in each of `after` pixels ``(b, after, before)``."""
    step = length / after
    support = step.clamp(min=1)
    place = torch.arange(before, device=start.device, dtype=start.dtype) + 0.5
    inside = (place > start.unsqueeze(1)) & (place < (start + length).unsqueeze(1))
    centres = torch.arange(after, device=start.device, dtype=start.dtype) + 0.5
    centre = start.unsqueeze(1) + centres * step.unsqueeze(1)
    # What is outside the part lies so far away that its weight is 0.
    scaled = torch.where(inside, place, _FAR) / support.unsqueeze(1)
    distance = (scaled.unsqueeze(1) - (centre / support.unsqueeze(1)).unsqueeze(2)).float()
    weight = distance.abs_().neg_().add_(1).clamp_(min=0)
    return weight.div_(weight.sum(2, keepdim=True))


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
    middle = maps[:, :, 2] + maps[:, :, :2].sum(2) / 2
    steps = (torch.cat([maps[:, :, :2], middle.unsqueeze(2)], 2) * _FIXED + 0.5).floor().int()
    column, row = (_places(steps[:, axis], height, width) >> 16 for axis in (0, 1))
    near_column, near_row = column.clamp(0, width - 1), row.clamp(0, height - 1)
    inside = (near_column == column) & (near_row == row)
    flat = (near_row * width + near_column).long().view(batch, 1, -1).expand(batch, channels, -1)
    found = images.reshape(batch, channels, -1).gather(2, flat).view_as(images)
    return _filled(found, inside, fill)


def _filled(images: Tensor, inside: Tensor, fill: int) -> Tensor:
    """Set bytes outside to a level, in place; arithmetic on bytes is faster than a mask."""
    kept = inside.unsqueeze(1).to(torch.uint8)
    images.mul_(kept)
    return images.add_((1 - kept).mul_(fill)) if fill else images


def _places(steps: Tensor, height: int, width: int) -> Tensor:
    """Return ``x * steps[:, 0] + y * steps[:, 1] + steps[:, 2]`` for all pixels ``(b, height, width)``."""
    x = torch.arange(width, device=steps.device, dtype=steps.dtype)
    y = torch.arange(height, device=steps.device, dtype=steps.dtype)
    along_x = steps[:, :1] * x + steps[:, 2:]
    return along_x.unsqueeze(1) + (steps[:, 1:2] * y).unsqueeze(2)


def _bilinear(images: Tensor, maps: Tensor, fill: int) -> Tensor:
    height, width = images.shape[2:]
    middle = maps[:, :, 2] + maps[:, :, :2].sum(2) / 2
    steps = torch.cat([maps[:, :, :2], middle.unsqueeze(2)], 2)
    column, row = (_places(steps[:, axis], height, width) for axis in (0, 1))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    grid = torch.stack([column.mul_(2 / width).float(), row.mul_(2 / height).float()], 3).sub_(1)
    found = grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    # Pillow cuts the fraction off.
    return _filled(found.add_(_TRUNCATED).to(torch.uint8), inside, fill)
