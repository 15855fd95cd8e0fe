"""Two layers in their principal directions: what canonical correlations, regression and Procrustes all start from.

With the singular value decompositions X = U₁ S₁ V₁ᵀ and Y = U₂ S₂ V₂ᵀ everything that rotations leave is in S₁, S₂ and
the *overlap* U₁ᵀ U₂. It is the same from Gram matrices (n, n), from moments (d, d) and from the activations themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.geometry import Geometry, rank_tolerance
from weightscape.similarity.measure import UndefinedMeasure


class JointMoments(Protocol):
    """Sums over the samples of two layers' channels, in double precision; products are of centred values."""

    @property
    def count(self) -> int:
        """Number of rows."""

    @property
    def first_mean(self) -> Tensor:
        """Means ``(d1,)`` of the first layer."""

    @property
    def second_mean(self) -> Tensor:
        """Means ``(d2,)`` of the second layer."""

    @property
    def first(self) -> Tensor:
        """Sums of products ``(d1, d1)`` of the first layer."""

    @property
    def second(self) -> Tensor:
        """Sums of products ``(d2, d2)`` of the second layer."""

    @property
    def cross(self) -> Tensor:
        """Sums of products ``(d1, d2)`` of the first layer with the second."""


@dataclass(frozen=True)
class Overlap:
    """The principal directions of two layers in each other.

    Attributes:
        matrix: U₁ᵀ U₂ ``(r1, r2)``.
        first: Singular values ``(r1,)`` of the first layer, descending.
        second: Singular values ``(r2,)`` of the second layer.
        first_units: V₁ ``(d1, r1)``; None from Gram matrices, which do not know the units.
        count: Number of samples.
    """

    matrix: Tensor
    first: Tensor
    second: Tensor
    count: int
    first_units: Tensor | None = None

    def correlations(self) -> Tensor:
        """Return the canonical correlations ``(min(r1, r2),)``, descending.

        Raises:
            DataError: If so few samples make some of them 1 whatever the data.
        """
        self.check_samples()
        found: Tensor = torch.linalg.svdvals(self.matrix).clamp(max=1)
        return found

    def check_samples(self) -> None:
        """Check that the samples do not force canonical correlations to 1.

        Raises:
            DataError: If two spaces of these ranks cannot help meeting in as many dimensions as there are samples.
        """
        ranks = len(self.first), len(self.second)
        if sum(ranks) >= self.count:
            raise DataError(
                f"Expected more samples than the ranks of both layers together, received {self.count} samples of ranks "
                f"{ranks[0]} and {ranks[1]}: at least {min(*ranks, sum(ranks) - self.count + 1)} canonical "
                "correlation(s) would be 1 whatever the networks. Take more samples, pool the maps (form pooled) or "
                "count every pixel as a sample (form pixels), keep fewer directions (svcca with a lower variance), or "
                "take linear-cka-debiased, which holds at any width."
            )

    def leading(self, variance: float) -> Overlap:
        """Return the overlap of the fewest leading directions that have a share of each layer's variance.

        Raises:
            DataError: If the share is not in (0, 1].
        """
        if not 0 < variance <= 1:
            raise DataError(f"Expected a share of the variance in (0, 1], received {variance}.")
        one, other = _leading(self.first, variance), _leading(self.second, variance)
        units = None if self.first_units is None else self.first_units[:, :one]
        return Overlap(self.matrix[:one, :other], self.first[:one], self.second[:other], self.count, units)

    def nuclear(self) -> float:
        """Return ‖Xᵀ Y‖₊, the sum of the singular values of the cross product."""
        return float(torch.linalg.svdvals(self.first[:, None] * self.matrix * self.second).sum())


def overlap_of_geometries(first: Geometry, second: Geometry, *, centred: bool = True) -> Overlap:
    """Return the overlap of two layers on the same samples."""
    (one, values), (other, others) = (
        geometry.directions if centred else geometry.raw_directions for geometry in (first, second)
    )
    return Overlap(one.T @ other, values, others, first.count)


def overlap_of_moments(moments: JointMoments, *, centred: bool = True) -> Overlap:
    """Return the overlap of two layers from the sums over their samples."""
    first, second, cross = moments.first, moments.second, moments.cross
    if not centred:
        one, other, n = moments.first_mean, moments.second_mean, moments.count
        first = first + n * torch.outer(one, one)
        second = second + n * torch.outer(other, other)
        cross = cross + n * torch.outer(one, other)
    (units, values), (others, other_values) = (
        _principal(sums, name, mean, moments.count)
        for sums, name, mean in ((first, "first", moments.first_mean), (second, "second", moments.second_mean))
    )
    matrix = (units.T @ cross @ others) / values[:, None] / other_values
    return Overlap(matrix, values, other_values, moments.count, units)


def _principal(sums: Tensor, name: str, mean: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return right singular vectors ``(d, r)`` and singular values ``(r,)``, descending, from sums of products."""
    squares, units = torch.linalg.eigh(sums.double())
    squares, units = squares.flip(0), units.flip(1)
    whole = float(sums.trace()) + count * float(mean.double().square().sum())
    check_varies(float(sums.trace()), whole, name)
    kept = squares > rank_tolerance(0.0, count) * squares.max()
    return units[:, kept], squares[kept].sqrt()


def check_varies(variance: float, whole: float, name: str) -> None:
    """Check that a layer is not the same for all samples, up to rounding.

    Args:
        variance: Sum of squares of its centred values.
        whole: Sum of squares of its values.
        name: Which of the two layers it is.

    Raises:
        UndefinedMeasure: If it is.
    """
    if not variance > 8 * torch.finfo(torch.float64).eps * whole:
        raise UndefinedMeasure(
            f"Expected rows that differ, but the {name} representation is the same for all samples, so that nothing "
            "can be compared with it. Leave this layer out; in a trained network its units are dead."
        )


def _leading(values: Tensor, variance: float) -> int:
    """Return how many leading singular values have a share of the sum of squares."""
    share = values.square().cumsum(0) / values.square().sum()
    return min(int((share < variance * (1 - 1e-12)).sum()) + 1, len(values))
