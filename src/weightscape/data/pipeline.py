"""The augmentation of an epoch: everything is drawn before its first batch, and applied batch by batch.

What happens to an image is a pure function of the seed, the name of the epoch and the image's place in the order, never
of the batch size. (``mixup`` with ``per: batch`` is the one exception, as it says.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from weightscape.data import sampling
from weightscape.data.augmentation import apply, draw
from weightscape.data.geometry import mapped, resized_boxes
from weightscape.data.mixing import Mixture, draw_mixture
from weightscape.data.own_code import own_function
from weightscape.data.transform_settings import (
    Affine,
    CenterCrop,
    Crop,
    Flip,
    Mixup,
    OwnTransform,
    Pad,
    PadCrop,
    RandomResizedCrop,
    Rotation,
)
from weightscape.data.transforms import Augmentation, uses_border
from weightscape.errors import DataError
from weightscape.seeds import stream
from weightscape.weights.algebra import precise_dtype

Size: TypeAlias = tuple[int, int]
Rows: TypeAlias = slice | Tensor
OWN_NUMBERS = 8
"""Uniform numbers that a function of the user's own gets for each image."""


@dataclass(frozen=True)
class Step:
    """One transform with what was drawn for it.

    Attributes:
        change: Called with a batch ``(b, C, H, W)`` uint8 and the rows of the draws, returns the changed batch.
        draws: What is done to each image ``(n, ...)``; None where nothing is drawn.
        size: Height and width after the transform.
    """

    change: Callable[[Tensor, Any], Tensor]
    draws: Tensor | None
    size: Size

    def apply(self, images: Tensor, rows: Rows) -> Tensor:
        """Return the changed images, which are those at `rows` of the order."""
        return self.change(images, None if self.draws is None else self.draws[rows])


@dataclass(frozen=True)
class Pipeline:
    """What is done to each image of an order.

    Attributes:
        steps: The transforms, in order.
        mixture: How images are mixed in the end, if they are.
    """

    steps: tuple[Step, ...]
    mixture: Mixture | None = None

    def apply(self, images: Tensor, rows: Rows) -> Tensor:
        """Return augmented images ``(b, C, H, W)`` uint8; `images` are those at `rows` of the order."""
        for step in self.steps:
            images = step.apply(images, rows)
        return images


def draw_pipeline(
    count: int,
    augment: Augmentation,
    size: Size,
    *,
    seed: int,
    index: tuple[int | str, ...],
    device: torch.device | str = "cpu",
    border: int = 0,
) -> Pipeline:
    """Draw the augmentation of an order of images.

    Numbers are drawn on the CPU and moved at once, so that every device sees the same augmentation and no batch waits
    for a transfer. Each transform has its own stream.

    Args:
        count: Number of images.
        augment: Which augmentations are in use.
        size: Height and width that a network sees.
        seed: Seed of the streams.
        index: Name of the epoch or the batch.
        device: Where the images are.
        border: Pixels that the images have around `size`; cut away first, unless a crop takes its part out of them.
    """
    steps = [Step(lambda images, _: without_border(images, border), None, size)] if border else []
    if isinstance(augment, str):
        named = _named(count, augment, stream(seed, "augment", *index), device)
        return replace(named, steps=(*steps, *named.steps))
    now, mixture = size, None
    if border and uses_border(augment):
        steps, now = [], (size[0] + 2 * border, size[1] + 2 * border)
    for place, transform in enumerate(augment):
        name = (*index, place, transform.name)
        if isinstance(transform, Mixup):
            mixture = draw_mixture(count, transform, seed=seed, index=name).to(device)
            continue
        step = _step(transform, count, now, size, stream(seed, "augment", *name))
        steps.append(replace(step, draws=None if step.draws is None else _moved(step.draws, device)))
        now = step.size
    return Pipeline(tuple(steps), mixture)


def without_border(images: Tensor, border: int) -> Tensor:
    """Return images ``(..., H, W)`` without `border` pixels on each side."""
    height, width = images.shape[-2:]
    return images[..., border : height - border, border : width - border]


def _moved(draws: Tensor, device: torch.device | str) -> Tensor:
    """Return draws on a device, in the precision that it has."""
    return draws.to(device, precise_dtype(device)) if draws.dtype == torch.float64 else draws.to(device)


def _named(count: int, augment: Any, generator: Generator, device: torch.device | str) -> Pipeline:
    if augment == "none":
        return Pipeline(())
    draws = draw(count, augment, generator=generator, device=device)
    return Pipeline((_Fused(draws),))  # type: ignore[arg-type]


class _Fused:
    """The augmentations that have a name: crop and flip in one gather."""

    def __init__(self, draws: Any) -> None:
        self._draws = draws

    def apply(self, images: Tensor, rows: Rows) -> Tensor:
        return apply(images, self._draws.take(rows))


def _step(transform: Any, count: int, now: Size, final: Size, generator: Generator) -> Step:
    if isinstance(transform, Flip):
        return Step(_flipped, sampling.draw_flips(count, transform, generator), now)
    if isinstance(transform, Pad):
        wider = (now[0] + 2 * transform.padding, now[1] + 2 * transform.padding)
        return Step(lambda images, _: _padded(images, transform.padding, transform.mode), None, wider)
    if isinstance(transform, Crop | CenterCrop | PadCrop):
        return _cropping(transform, count, now, final, generator)
    if isinstance(transform, RandomResizedCrop):
        boxes = sampling.draw_boxes(count, now, transform, generator)
        return Step(lambda images, drawn: resized_boxes(images, drawn, final), boxes, final)
    if isinstance(transform, OwnTransform):
        numbers = torch.rand(count, OWN_NUMBERS, generator=generator)
        return Step(lambda images, drawn: _own(images, drawn, transform), numbers, now)
    return _moving(transform, count, now, generator)


def _cropping(transform: Crop | CenterCrop | PadCrop, count: int, now: Size, final: Size, generator: Generator) -> Step:
    margin = transform.padding if isinstance(transform, PadCrop) else 0
    target = now if margin else final
    slack = (now[0] + 2 * margin - target[0], now[1] + 2 * margin - target[1])
    if isinstance(transform, CenterCrop):
        corners = torch.tensor([side // 2 for side in slack]).expand(count, 2)
    else:
        corners = sampling.draw_corners(count, slack, generator)
    return Step(lambda images, drawn: _cropped(_padded(images, margin, "black"), drawn, target), corners, target)


def _moving(transform: Rotation | Affine, count: int, now: Size, generator: Generator) -> Step:
    if isinstance(transform, Rotation):
        maps = sampling.draw_rotations(count, now, transform, generator)
    else:
        maps = sampling.draw_affine(count, now, transform, generator)
    return Step(
        lambda images, drawn: mapped(images, drawn, interpolation=transform.interpolation, fill=transform.fill),
        maps,
        now,
    )


def _flipped(images: Tensor, flip: Tensor) -> Tensor:
    return torch.where(flip[:, None, None, None], images.flip(3), images)


def _padded(images: Tensor, margin: int, mode: str) -> Tensor:
    if not margin:
        return images
    if mode == "black":
        return pad(images, (margin,) * 4)
    height, width = images.shape[2:]
    rows, columns = (
        torch.arange(-margin, side + margin, device=images.device).clamp(0, side - 1) for side in (height, width)
    )
    return images[:, :, rows][:, :, :, columns]


def _cropped(images: Tensor, corners: Tensor, size: Size) -> Tensor:
    batch, channels, height, width = images.shape
    rows = corners[:, :1] + torch.arange(size[0], device=images.device)
    columns = corners[:, 1:] + torch.arange(size[1], device=images.device)
    flat = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, -1).expand(batch, channels, -1)
    return images.reshape(batch, channels, height * width).gather(2, flat).view(batch, channels, *size)


def _own(images: Tensor, numbers: Tensor, transform: OwnTransform) -> Tensor:
    function = own_function(transform.name, transform.arguments, given=2)
    try:
        result = function(images, numbers, **transform.arguments)
    except Exception as error:
        raise DataError(f"{transform.name} failed with the arguments {transform.arguments}: {error!r}") from error
    if not isinstance(result, Tensor) or result.shape != images.shape or result.dtype != images.dtype:
        received = f"{result.dtype} {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        raise DataError(
            f"{transform.name} should return images like those it gets, {images.dtype} {tuple(images.shape)}; it "
            f"returned {received}."
        )
    return result
