"""Representations for tests of measures: related, generic, with a mean and unequal scales."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weightscape.seeds import stream
from weightscape.similarity.measure import Measure, find_measure, measure_names

MEASURES = [find_measure(name) for name in measure_names()]
SAME_WIDTH = {"l2", "prediction-agreement", "output-kl", "mistakes-jaccard", "mistakes-kappa"}


def pair(measure: Measure, *, seed: int, count: int = 60, first: int = 6, second: int = 4) -> tuple[Tensor, Tensor]:
    """Two layers that share some of what they respond to; of equal width where the measure needs that."""
    if measure.name in SAME_WIDTH:
        second = first
    random = stream(seed, "noise", "representations")
    common = torch.randn(count, 3, generator=random, dtype=torch.float64)
    layers = []
    for width in (first, second):
        mixing = torch.randn(3, width, generator=random, dtype=torch.float64)
        own = torch.randn(count, width, generator=random, dtype=torch.float64)
        mean = 0.3 * torch.randn(width, generator=random, dtype=torch.float64)
        scale = torch.linspace(1.0, 0.3, width, dtype=torch.float64)
        layers.append((common @ mixing + own) * scale + mean)
    return layers[0], layers[1]


def options(measure: Measure, count: int = 60) -> dict[str, Any]:
    """The options that a measure must have, and batches smaller than the samples."""
    if measure.needs_labels:
        return {"labels": torch.arange(count) % 6}
    return {"batch_size": 16} if measure.name == "minibatch-cka" else {}


def orthogonal(width: int, seed: int) -> Tensor:
    random = stream(seed, "noise", "rotation")
    return torch.linalg.qr(torch.randn(width, width, generator=random, dtype=torch.float64))[0]
