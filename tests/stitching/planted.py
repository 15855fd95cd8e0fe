"""Activations and networks of which the answer is known."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from weightscape.similarity.moments import Moments


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows(seed: int, count: int, channels: int) -> Tensor:
    """Correlated channels about different means; no direction is narrower than a tenth of the widest, but by chance."""
    scales = torch.linspace(0.5, 3, channels, dtype=torch.float64)
    mixing = rotation(seed, channels) * scales @ rotation(seed + 3, channels)
    return normal(seed + 1, count, channels) @ mixing + 3 * normal(seed + 2, channels)


def moments_of(x: Tensor, y: Tensor) -> Moments:
    """The definition, in double precision."""
    x, y = x.double(), y.double()
    first, second = x - x.mean(0), y - y.mean(0)
    return Moments(len(x), x.mean(0), y.mean(0), first.T @ first, second.T @ second, first.T @ second)


def rotation(seed: int, size: int) -> Tensor:
    return torch.linalg.qr(normal(seed, size, size))[0]


def permuted(given: nn.Module, order: Tensor) -> nn.Module:
    """The same function, with the channels of the first convolution in another order."""
    found = copy.deepcopy(given)
    with torch.no_grad():
        for name in ("0.weight", "0.bias", "1.weight", "1.bias"):
            found.get_parameter(name).copy_(given.get_parameter(name)[order])
        for name in ("1.running_mean", "1.running_var"):
            found.get_buffer(name).copy_(given.get_buffer(name)[order])
        found.get_parameter("3.weight").copy_(given.get_parameter("3.weight")[:, order])
    return found
