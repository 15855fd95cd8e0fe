"""Draw what is done to each image: the laws of the usual transforms, for many images at once.

All functions draw on the CPU from the given generator, in float64, one row per image.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from weightscape.data.transform_settings import Affine, Flip, RandomResizedCrop, Rotation

_ATTEMPTS = 10


def _uniform(count: int, low: float, high: float, generator: Generator, *shape: int) -> Tensor:
    return torch.rand(count, *shape, generator=generator, dtype=torch.float64) * (high - low) + low


def _whole(upper: Tensor, generator: Generator) -> Tensor:
    """Return integers, uniform in 0 to `upper`, both included."""
    drawn = torch.rand(upper.shape, generator=generator, dtype=torch.float64) * (upper + 1)
    return drawn.floor().long().minimum(upper)


def draw_flips(count: int, transform: Flip, generator: Generator) -> Tensor:
    """Return which images are mirrored ``(count,)`` bool."""
    return _uniform(count, 0, 1, generator) < transform.probability


def draw_corners(count: int, slack: tuple[int, int], generator: Generator) -> Tensor:
    """Return corners ``(count, 2)`` int64, rows and columns uniform in 0 to `slack`."""
    return _whole(torch.tensor(slack).expand(count, 2), generator)


def draw_boxes(count: int, size: tuple[int, int], transform: RandomResizedCrop, generator: Generator) -> Tensor:
    """Return the parts ``(count, 4)`` int64 of random resized crops: top, left, height, width.

    Ten areas and aspects are drawn; the first pair that fits into the image is taken, at a uniform place. Where none
    fits, the largest central part is taken whose aspect is permitted.

    Args:
        count: Number of images.
        size: Height and width of the images.
        transform: Bounds of area and aspect.
        generator: Source of randomness.
    """
    height, width = size
    area = _uniform(count, *transform.scale, generator, _ATTEMPTS) * (height * width)
    low, high = map(math.log, transform.ratio)
    aspect = _uniform(count, low, high, generator, _ATTEMPTS).exp()
    heights, widths = (area / aspect).sqrt().round().long(), (area * aspect).sqrt().round().long()
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    first = fits.int().argmax(1, keepdim=True)
    central = torch.tensor(_central(size, transform.ratio))
    chosen = torch.stack([heights.gather(1, first), widths.gather(1, first)], 2).squeeze(1)
    found = fits.any(1, keepdim=True)
    sides = torch.where(found, chosen, central)
    slack = torch.tensor(size) - sides
    corners = torch.where(found, _whole(slack, generator), slack // 2)
    return torch.cat([corners, sides], 1)


def _central(size: tuple[int, int], ratio: tuple[float, float]) -> tuple[int, int]:
    height, width = size
    if width / height < ratio[0]:
        return min(height, round(width / ratio[0])), width
    if width / height > ratio[1]:
        return height, min(width, round(height * ratio[1]))
    return height, width


def draw_rotations(count: int, size: tuple[int, int], transform: Rotation, generator: Generator) -> Tensor:
    """Return the maps ``(count, 2, 3)`` from places of the result to places of the image, anticlockwise angles."""
    degrees = _uniform(count, -transform.degrees, transform.degrees, generator)
    zero, one = torch.zeros(count, dtype=torch.float64), torch.ones(count, dtype=torch.float64)
    return inverse_maps(-degrees, torch.stack([zero, zero], 1), one, torch.stack([zero, zero], 1), size)


def draw_affine(count: int, size: tuple[int, int], transform: Affine, generator: Generator) -> Tensor:
    """Return the maps ``(count, 2, 3)`` from places of the result to places of the image."""
    height, width = size
    degrees = _uniform(count, -transform.degrees, transform.degrees, generator)
    farthest = torch.tensor([transform.translate[0] * width, transform.translate[1] * height], dtype=torch.float64)
    shift = (_uniform(count, -1, 1, generator, 2) * farthest).round()
    scale = _uniform(count, *transform.scale, generator)
    shear = _uniform(count, -1, 1, generator, 2) * torch.tensor([transform.shear, transform.shear_y])
    return inverse_maps(degrees, shift, scale, shear, size)


def inverse_maps(degrees: Tensor, shift: Tensor, scale: Tensor, shear: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the inverse of affine maps: where in the image each place ``(x, y)`` of the result comes from.

    About the centre of the image, it is sheared along x, then along y, scaled, turned, and shifted at last, with y
    pointing down: ``shift + R(degrees) Y(shear_y) X(shear_x) scale``.

    Args:
        degrees: Angle of the turn, clockwise as seen ``(n,)``.
        shift: Pixels to the right and down ``(n, 2)``.
        scale: Factor ``(n,)``.
        shear: Angles in degrees along x and y ``(n, 2)``.
        size: Height and width.

    Returns:
        Matrices and offsets ``(n, 2, 3)`` float64.
    """
    angle = degrees.double().deg2rad()
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    slope = -shear.double().deg2rad().tan()
    along_x, along_y = torch.eye(2, dtype=torch.float64).repeat(2, len(angle), 1, 1)
    along_x[:, 0, 1], along_y[:, 1, 0] = slope[:, 0], slope[:, 1]
    inverse = torch.linalg.inv(turn @ along_y @ along_x * scale.double().view(-1, 1, 1))
    centre = torch.tensor([size[1] / 2, size[0] / 2], dtype=torch.float64)
    offset = centre - (inverse @ (centre + shift.double()).unsqueeze(2)).squeeze(2)
    return torch.cat([inverse, offset.unsqueeze(2)], 2)
