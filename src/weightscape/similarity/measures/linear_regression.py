"""How much of one layer a linear map of the other explains."""

from __future__ import annotations

from weightscape.errors import DataError
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.measure import measure
from weightscape.similarity.overlap import JointMoments, Overlap, overlap_of_geometries, overlap_of_moments


@measure(
    "linear-regression",
    symmetric=False,
    invariances=["orthogonal", "isotropic-scale", "translation", "sample-permutation"],
    sample_rule="n > rank(X) + 1",
    cost="O(d³), or O(n³) from Gram matrices",
    source="Kornblith et al. 2019, arXiv 1905.00414, section 4 (R²_LR)",
)
def linear_regression(first: Geometry, second: Geometry) -> float:
    """R² of the least-squares map of the first layer onto the second, with intercept, on the samples it is fitted to.

    ‖U₁ᵀ Y₀‖² / ‖Y₀‖² of centred activations, where U₁ spans the first layer; of the first layer only its span matters.
    For unrelated layers it is about rank(X)/(n − 1), and 1 whatever the networks once the rank is n − 1, which is
    refused. Published code that does not centre counts the explained means as well, and is 1 already for large means.
    """
    return _explained(overlap_of_geometries(first, second))


@linear_regression.also_from("moments")
def linear_regression_of_moments(moments: JointMoments) -> float:
    """Return R² from sums over the samples."""
    return _explained(overlap_of_moments(moments))


def _explained(overlap: Overlap) -> float:
    rank, n = len(overlap.first), overlap.count
    if rank >= n - 1:
        raise DataError(
            f"Expected more samples than the rank of the first layer plus one, received {n} samples of rank {rank}: a "
            "linear map would fit anything and R² would be 1 whatever the networks. Take more samples, pool the maps "
            "(form pooled) or count every pixel as a sample (form pixels)."
        )
    squares = overlap.second.square()
    return float((overlap.matrix.square().sum(dim=0) * squares).sum() / squares.sum())
