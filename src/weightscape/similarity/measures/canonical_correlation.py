"""Canonical correlations of two layers: how much of one is in the span of the other, whatever the units.

They are invariant to every invertible map, and pay for it: with as many units as samples all are 1. Too few samples
are refused.
"""

from __future__ import annotations

from weightscape.similarity.geometry import Geometry
from weightscape.similarity.measure import Invariance, measure
from weightscape.similarity.overlap import JointMoments, Overlap, overlap_of_geometries, overlap_of_moments

_RULE = "n > rank(X) + rank(Y)"
_KORNBLITH = "Kornblith et al. 2019, arXiv 1905.00414, section 4"
_INVARIANT: tuple[Invariance, ...] = ("invertible-linear", "translation", "sample-permutation")


@measure(
    "mean-cca",
    invariances=_INVARIANT,
    sample_rule=_RULE,
    cost="O(d³), or O(n³) from Gram matrices",
    source=_KORNBLITH,
)
def mean_cca(first: Geometry, second: Geometry) -> float:
    """Mean of the canonical correlations, Σ ρᵢ / r, where r is the smaller of the two ranks.

    The ranks are numerical ones, so that dead units change nothing.
    """
    return _mean(overlap_of_geometries(first, second))


@mean_cca.also_from("moments")
def mean_cca_of_moments(moments: JointMoments) -> float:
    """Return the mean canonical correlation from sums over the samples."""
    return _mean(overlap_of_moments(moments))


@measure(
    "mean-squared-cca",
    invariances=_INVARIANT,
    sample_rule=_RULE,
    cost="O(d³), or O(n³) from Gram matrices",
    source=f"{_KORNBLITH} (R²_CCA); Yanai's generalised coefficient of determination, Ramsay et al. 1984",
)
def mean_squared_cca(first: Geometry, second: Geometry) -> float:
    """Mean of the squared canonical correlations, ‖U₁ᵀU₂‖² / r, where r is the smaller of the two ranks."""
    return float(overlap_of_geometries(first, second).correlations().square().mean())


@mean_squared_cca.also_from("moments")
def mean_squared_cca_of_moments(moments: JointMoments) -> float:
    """Return the mean squared canonical correlation from sums over the samples."""
    return float(overlap_of_moments(moments).correlations().square().mean())


@measure(
    "svcca",
    invariances=["orthogonal", "isotropic-scale", "translation", "sample-permutation"],
    sample_rule="n > number of directions kept of X and Y",
    cost="O(d³), or O(n³) from Gram matrices",
    source="Raghu et al. 2017, arXiv 1706.05806",
)
def svcca(first: Geometry, second: Geometry, *, variance: float = 0.99) -> float:
    """Mean canonical correlation of the leading principal directions of each layer.

    Args:
        first: The first layer.
        second: The second layer.
        variance: Share of each layer's variance that the directions kept must have; as few as possible are kept.
    """
    return _mean(overlap_of_geometries(first, second).leading(variance))


@svcca.also_from("moments")
def svcca_of_moments(moments: JointMoments, *, variance: float = 0.99) -> float:
    """Return SVCCA from sums over the samples."""
    return _mean(overlap_of_moments(moments).leading(variance))


def _mean(overlap: Overlap) -> float:
    return float(overlap.correlations().mean())
