"""CKA without each sample in turn, all n values in the time of a few: O(n²) instead of O(n³)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from weightscape.similarity.geometry import Geometry


def left_out_cka(first: Geometry, second: Geometry) -> Tensor:
    """Return linear CKA without each sample ``(n,)``, biased estimator."""
    return _ratios(first.centred, second.centred, _biased)


def left_out_debiased(first: Geometry, second: Geometry) -> Tensor:
    """Return debiased linear CKA without each sample ``(n,)``."""
    one, other = (_hollow(layer.centred) for layer in (first, second))
    return _ratios(one, other, _unbiased)


LEFT_OUT: dict[str, Callable[[Geometry, Geometry], Tensor]] = {
    "linear-cka": left_out_cka,
    "linear-cka-debiased": left_out_debiased,
}
"""By measure: its values without each sample."""


def _ratios(one: Tensor, other: Tensor, product: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    norms = product(one, one).clamp(min=0) * product(other, other).clamp(min=0)
    # without one sample a layer may be constant: no value, which the caller refuses
    return torch.where(norms > 0, product(one, other) / norms.sqrt(), torch.nan)


def _hollow(matrix: Tensor) -> Tensor:
    return matrix.clone().fill_diagonal_(0)


def _sums(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return, without each sample, Σ kᵢⱼ lᵢⱼ, Σᵢ (Σⱼ kᵢⱼ)(Σⱼ lᵢⱼ) and (Σ k)(Σ l), each ``(n,)``."""
    rows, others = one.sum(dim=1), other.sum(dim=1)
    diagonal, other_diagonal = one.diagonal(), other.diagonal()
    products = (one * other).sum(dim=1)
    entries = products.sum() - 2 * products + diagonal * other_diagonal
    margins = rows @ others - one @ others - other @ rows + products - (rows - diagonal) * (others - other_diagonal)
    totals = (rows.sum() - 2 * rows + diagonal) * (others.sum() - 2 * others + other_diagonal)
    return entries, margins, totals


def _biased(one: Tensor, other: Tensor) -> Tensor:
    n = len(one) - 1
    entries, margins, totals = _sums(one, other)
    return entries - 2 / n * margins + totals / n**2


def _unbiased(one: Tensor, other: Tensor) -> Tensor:
    n = len(one) - 1
    entries, margins, totals = _sums(one, other)
    return entries - 2 / (n - 2) * margins + totals / ((n - 1) * (n - 2))
