"""Reduced-rank regression: the best affine maps of every rank, from one factorisation.

The least-squares map is followed by the projection to the principal directions of what it predicts (Izenman 1975;
Reinsel and Velu 1998, with the identity as weight matrix). The directions do not depend on the rank, so that all ranks
come from one eigendecomposition of a ``C2 x C2`` matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.stitching.direct.least_squares import TOLERANCE, affine_bias, solve_symmetric
from weightscape.stitching.direct.stitch import DirectStitch, check_rows, direct_stitch

if TYPE_CHECKING:
    from weightscape.similarity.moments import Moments


@dataclass(frozen=True)
class ReducedRank:
    """Least-squares maps of every rank.

    Attributes:
        weight: The map of full rank ``(C2, C1)``, float64.
        directions: Orthonormal columns ``(C2, k)`` with ``k = min(C1, C2)``, by decreasing share of the prediction.
        gains: By how much each direction lowers the squared error ``(k,)``, decreasing.
        moments: What they were fitted to.
        centred: Whether the maps have a bias; without one they are those of the published code.
    """

    weight: Tensor
    directions: Tensor
    gains: Tensor
    moments: Moments
    centred: bool

    @property
    def largest(self) -> int:
        """The full rank, ``min(C1, C2)``."""
        return self.directions.shape[1]

    def at(self, rank: int) -> DirectStitch:
        """Return the best map of a rank.

        Raises:
            DataError: If the layers allow no such rank.
        """
        inner, outer = self.factors(rank)
        weight = outer @ inner
        return direct_stitch("reduced-rank", weight, self._bias(weight), self.moments, rank=rank)

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """Return ``inner`` ``(rank, C1)`` and ``outer`` ``(C2, rank)``, with orthonormal columns: ``W = outer inner``.

        Raises:
            DataError: If the layers allow no such rank.
        """
        if not 1 <= rank <= self.largest:
            raise DataError(
                f"Expected a rank of 1 to {self.largest} for a stitch from {self.weight.shape[1]} to "
                f"{self.weight.shape[0]} channels, received {rank}."
            )
        outer = self.directions[:, :rank]
        return outer.T @ self.weight, outer

    def _bias(self, weight: Tensor) -> Tensor:
        return affine_bias(self.moments, weight) if self.centred else torch.zeros_like(self.moments.second_mean)


def reduced_rank(moments: Moments, *, compat: bool = False, tolerance: float = TOLERANCE) -> ReducedRank:
    """Return the least-squares maps of every rank.

    Args:
        moments: Of the two layers, on training data.
        compat: Neither centre nor fit a bias, as the published code did (``ls_sum``).
        tolerance: Eigenvalues of the front's covariance below this share of the largest one count as 0.

    Raises:
        DataError: If there are fewer than two rows, or activations are not finite.
    """
    check_rows(moments)
    first, cross = (uncentred_first(moments), uncentred_cross(moments)) if compat else (moments.first, moments.cross)
    weight = solve_symmetric(first, cross, tolerance=tolerance).T.contiguous()
    predicted = weight @ cross  # = W first Wᵀ, the products of the predictions
    gains, directions = torch.linalg.eigh((predicted + predicted.T) / 2)
    kept = min(weight.shape)
    return ReducedRank(
        weight=weight,
        directions=directions.flip(1)[:, :kept].contiguous(),
        gains=gains.flip(0)[:kept].clamp(min=0),
        moments=moments,
        centred=not compat,
    )


def uncentred_first(moments: Moments) -> Tensor:
    """Return ``sum x xᵀ`` of the front's rows ``(C1, C1)``, without centring."""
    return moments.first + moments.count * torch.outer(moments.first_mean, moments.first_mean)


def uncentred_cross(moments: Moments) -> Tensor:
    """Return ``sum x yᵀ`` ``(C1, C2)``, without centring."""
    return moments.cross + moments.count * torch.outer(moments.first_mean, moments.second_mean)
