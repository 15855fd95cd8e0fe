"""Distances after the best rotation of one layer onto the other: metrics, which obey the triangle inequality.

Layers of different width are compared as if the narrower one had units that are always zero.
"""

from __future__ import annotations

import math

from weightscape.similarity.geometry import Geometry
from weightscape.similarity.measure import Invariance, measure
from weightscape.similarity.overlap import JointMoments, Overlap, overlap_of_geometries, overlap_of_moments

_SHAPE: tuple[Invariance, ...] = ("orthogonal", "isotropic-scale", "translation", "sample-permutation")
_COST = "O(d³), or O(n³) from Gram matrices"


@measure(
    "procrustes",
    kind="distance",
    high=math.sqrt(2),
    invariances=_SHAPE,
    cost=_COST,
    source="Ding et al. 2021, arXiv 2108.01661 (there squared); Williams et al. 2021, arXiv 2110.14739",
)
def procrustes(first: Geometry, second: Geometry) -> float:
    """Distance after centring, scaling to unit norm and the best rotation: min_Q ‖X₀/‖X₀‖ − Y₀Q/‖Y₀‖‖.

    Equal to √(2 − 2ν) with ν = ‖X₀ᵀY₀‖₊ / (‖X₀‖ ‖Y₀‖), where ‖·‖₊ is the nuclear norm; the root is taken, so that it
    is a distance. Values below 1e-7 are rounding.
    """
    return math.sqrt(max(0.0, 2 - 2 * _cosine(overlap_of_geometries(first, second))))


@procrustes.also_from("moments")
def procrustes_of_moments(moments: JointMoments) -> float:
    """Return the Procrustes distance from sums over the samples."""
    return math.sqrt(max(0.0, 2 - 2 * _cosine(overlap_of_moments(moments))))


@measure(
    "angular-procrustes",
    kind="distance",
    high=math.pi / 2,
    invariances=_SHAPE,
    cost=_COST,
    source="Williams et al. 2021, arXiv 2110.14739, section 2 (Riemannian shape distance)",
)
def angular_procrustes(first: Geometry, second: Geometry) -> float:
    """Angle in radians between two centred layers after the best rotation: arccos ν, with the ν of ``procrustes``."""
    return math.acos(_cosine(overlap_of_geometries(first, second)))


@angular_procrustes.also_from("moments")
def angular_procrustes_of_moments(moments: JointMoments) -> float:
    """Return the angular distance from sums over the samples."""
    return math.acos(_cosine(overlap_of_moments(moments)))


@measure(
    "orthogonal-distance",
    kind="distance",
    high=math.inf,
    invariances=["orthogonal", "sample-permutation"],
    cost=_COST,
    source="Schönemann 1966, Psychometrika 31, 1; Williams et al. 2021, arXiv 2110.14739",
)
def orthogonal_distance(first: Geometry, second: Geometry) -> float:
    """Root mean square over the samples of what the best rotation leaves, min_Q ‖X − YQ‖ / √n; no centring, no scaling.

    In the units of the activations. Whoever wants to replace one layer by a rotation of the other reads off the error.
    """
    return _left(overlap_of_geometries(first, second, centred=False))


@orthogonal_distance.also_from("moments")
def orthogonal_distance_of_moments(moments: JointMoments) -> float:
    """Return the orthogonal distance from sums over the samples."""
    return _left(overlap_of_moments(moments, centred=False))


def _cosine(overlap: Overlap) -> float:
    return min(overlap.nuclear() / float(overlap.first.norm() * overlap.second.norm()), 1.0)


def _left(overlap: Overlap) -> float:
    squares = float(overlap.first.square().sum() + overlap.second.square().sum())
    return math.sqrt(max(0.0, squares - 2 * overlap.nuclear()) / overlap.count)
