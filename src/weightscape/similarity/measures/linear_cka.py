"""Linear centred kernel alignment (Kornblith et al. 2019, arXiv 1905.00414), biased and debiased.

The biased estimator, the usual one, is far above 0 for unrelated layers unless the samples outnumber the units by much:
at n = 200 and d = 1000 it is 0.83 for independent noise. Of the debiased one, 0 means unrelated at any size.
"""

from __future__ import annotations

from torch import Tensor

from weightscape.similarity.computing import geometries_of
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.kernels import ratio, unit_vector
from weightscape.similarity.measure import measure
from weightscape.similarity.overlap import JointMoments, check_varies

_SOURCE = "Kornblith et al. 2019, arXiv 1905.00414, section 3"
_DEBIASED = "Song et al. 2012, JMLR 13, 1393, equation 5 (HSIC); Nguyen et al. 2020, arXiv 2010.15327, section 2"


@measure(
    "linear-cka",
    invariances=["orthogonal", "isotropic-scale", "translation", "sample-permutation"],
    cost="O(n²), or O(n d²) from units",
    source=_SOURCE,
)
def linear_cka(first: Geometry, second: Geometry) -> float:
    """Linear CKA with the biased estimator, ⟨HKH, HLH⟩ / (‖HKH‖ ‖HLH‖) with K = XXᵀ and L = YYᵀ.

    From moments the same number is ‖X₀ᵀY₀‖² / (‖X₀ᵀX₀‖ ‖Y₀ᵀY₀‖) of centred columns. 1 of layers that are equal up to
    a rotation and a scale; for unrelated ones it is 0 only where n is much larger than d.
    """
    return float(alignment_vector(first) @ alignment_vector(second))


@linear_cka.embeds
def alignment_vector(layer: Geometry) -> Tensor:
    """Return HKH as a vector ``(n²,)`` of length 1."""
    return layer.keep("linear-cka", lambda: unit_vector(layer.centred, layer, of=layer.centred))


@linear_cka.also_from("moments")
def linear_cka_of_moments(moments: JointMoments) -> float:
    """Return linear CKA from sums over the samples; the Gram matrices are not needed."""
    for name, sums, mean in (
        ("first", moments.first, moments.first_mean),
        ("second", moments.second, moments.second_mean),
    ):
        variance = float(sums.trace())
        check_varies(variance, variance + moments.count * float(mean.square().sum()), name)
    return float(moments.cross.square().sum() / (moments.first.norm() * moments.second.norm()))


@measure(
    "linear-cka-debiased",
    low=-1.0,
    invariances=["orthogonal", "isotropic-scale", "translation", "sample-permutation"],
    minimum_samples=4,
    biased=False,
    cost="O(n²), or O(n d²) from units",
    source=_DEBIASED,
)
def linear_cka_debiased(first: Geometry, second: Geometry) -> float:
    """Linear CKA with the unbiased estimator of HSIC in all three places.

    Numerator and denominators are without bias, their ratio nearly so: unrelated layers score 0 on average whatever n
    and d, hence negative values about half of the time. The norms are sums of squares, so that the square root is
    always of something positive, also where activations have a large mean in single precision.
    """
    return float(debiased_vector(first) @ debiased_vector(second))


@linear_cka_debiased.embeds
def debiased_vector(layer: Geometry) -> Tensor:
    """Return the Gram matrix in the form for the unbiased estimator as a vector ``(n²,)`` of length 1."""
    return layer.keep("linear-cka-debiased", lambda: unit_vector(layer.unbiased, layer, of=layer.centred))


@linear_cka_debiased.also_from("activations")
def linear_cka_debiased_of_activations(first: Tensor, second: Tensor) -> float:
    """Return debiased linear CKA of matrices ``(n, d)``, without Gram matrices where there are more rows than units."""
    if first.shape[1] + second.shape[1] >= len(first):
        return linear_cka_debiased.function(*geometries_of(first, second))
    sides = [rows - rows.mean(dim=0) for rows in (first, second)]
    for name, given, rows in zip(("first", "second"), (first, second), sides, strict=True):
        check_varies(float(rows.square().sum()), float(given.square().sum()), name)
    both, one_self, other_self = (unbiased_product(sides[a], sides[b]) for a, b in ((0, 1), (0, 0), (1, 1)))
    scales = [float(rows.square().sum()) ** 2 for rows in sides]
    return ratio(
        both, one_self, other_self, scales=scales, names=("the first representation", "the second representation")
    )


def unbiased_product(first: Tensor, second: Tensor) -> float:
    """Return n (n − 3) times the unbiased estimator of HSIC of centred rows, in O(n d²) and without Gram matrices.

    With the sums over i ≠ j written out: ‖XᵀY‖² − Σ kᵢᵢ lᵢᵢ + Σk Σl / ((n−1)(n−2)) − 2/(n−2) Σᵢ (Σⱼ kᵢⱼ)(Σⱼ lᵢⱼ)
    (Song et al. 2012, equation 5).
    """
    n = len(first)
    squares, others = first.square().sum(dim=1), second.square().sum(dim=1)
    # the rows are centred, so each row of its Gram matrix sums to zero with the diagonal and to -k_ii without it
    inner = (first.T @ second).square().sum() - squares @ others
    return float(inner + squares.sum() * others.sum() / ((n - 1) * (n - 2)) - 2 * (squares @ others) / (n - 2))
