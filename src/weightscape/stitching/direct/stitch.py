"""A stitch found by direct matching, and its error on any moments: no pass over activations is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.results import Result
from weightscape.stitching.direct.settings import Method

if TYPE_CHECKING:
    from weightscape.similarity.moments import Moments


@dataclass(frozen=True, repr=False)
class DirectStitch(Result):
    """The affine map ``y = W x + b`` of one class that brings activations x of one layer closest to those of another.

    Attributes:
        method: The class of maps.
        weight: W ``(C2, C1)``, float64.
        bias: b ``(C2,)``, float64.
        rank: Rank of W; for ``reduced-rank`` the one that was asked for.
        penalty: The ridge, or the l1 penalty; None without one.
        residual: Mean squared error over rows and channels, on what it was fitted to.
        r2: Share of the variance that it explains there; None where the back's channels do not vary. Negative where
            the mean would be closer.
        optimality: Largest violation of the conditions of an optimum, relative to the gradient at 0; None for closed
            forms.
    """

    method: Method
    weight: Tensor
    bias: Tensor
    rank: int
    penalty: float | None
    residual: float
    r2: float | None
    optimality: float | None = None

    @property
    def sparsity(self) -> float:
        """Share of the entries of W that are 0."""
        return float((self.weight == 0).double().mean())

    def state(self) -> dict[str, Tensor]:
        """Return ``weight`` and ``bias`` in float32: the state dict of an affine stitch, or of a flat one."""
        return {"weight": self.weight.float(), "bias": self.bias.float()}

    def mean_squared_error(self, moments: Moments) -> float:
        """Return the mean squared error over rows and channels on other activations, from their moments."""
        check_fit(moments, self.weight)
        return squared_error(moments, self.weight, self.bias) / (moments.count * len(self.bias))

    def explained(self, moments: Moments) -> float | None:
        """Return R², the share of the variance explained on other activations; None where these do not vary."""
        check_fit(moments, self.weight)
        return _explained(squared_error(moments, self.weight, self.bias), moments)


def direct_stitch(
    method: Method,
    weight: Tensor,
    bias: Tensor,
    moments: Moments,
    *,
    rank: int | None = None,
    penalty: float | None = None,
    optimality: float | None = None,
) -> DirectStitch:
    """Return a stitch with its error on the moments that it was fitted to."""
    error = squared_error(moments, weight, bias)
    return DirectStitch(
        method=method,
        weight=weight,
        bias=bias,
        rank=int(torch.linalg.matrix_rank(weight)) if rank is None else rank,
        penalty=penalty,
        residual=error / (moments.count * len(bias)),
        r2=_explained(error, moments),
        optimality=optimality,
    )


def squared_error(moments: Moments, weight: Tensor, bias: Tensor) -> float:
    """Return ``sum |W x + b - y|²`` over all rows, from their centred sums of products.

    It is a difference of large numbers: below about 1e-14 of ``sum |y - mean|²`` it is rounding.
    """
    mapped = weight @ moments.first
    spread = (mapped * weight).sum() - 2 * (weight * moments.cross.T).sum() + moments.second.trace()
    shift = weight @ moments.first_mean + bias - moments.second_mean
    return max(0.0, float(spread + moments.count * shift.square().sum()))


def _explained(error: float, moments: Moments) -> float | None:
    total = float(moments.second.trace())
    return 1 - error / total if total > 0 else None


def varying(products: Tensor, mean: Tensor, count: int) -> Tensor:
    """Return which channels vary ``(C,)``: by more than rounding leaves in a constant that is not 0.

    Args:
        products: Centred sums of products ``(C, C)``.
        mean: Means ``(C,)``.
        count: Number of rows.
    """
    return products.diagonal() > 1e-24 * count * mean.square()  # a deviation of 1e-12 of the mean


def check_fit(moments: Moments, weight: Tensor) -> None:
    """Check that a stitch and moments are of the same two layers.

    Raises:
        DataError: If their numbers of channels differ.
    """
    expected = (len(moments.second_mean), len(moments.first_mean))
    if tuple(weight.shape) != expected:
        raise DataError(
            f"Expected moments of {weight.shape[1]} and {weight.shape[0]} channels for this stitch, received moments "
            f"of {expected[1]} and {expected[0]}. Take those of the same two layers."
        )


def check_rows(moments: Moments) -> None:
    """Check that there is something to fit to.

    Raises:
        DataError: If there are fewer than two rows, or values that are not finite.
    """
    if moments.count < 2:
        raise DataError(f"Expected at least 2 rows of activations to fit a stitch to, received {moments.count}.")
    sums = (moments.first_mean, moments.second_mean, moments.first, moments.second, moments.cross)
    if not all(bool(values.isfinite().all()) for values in sums):
        raise DataError(
            "Expected finite activations to fit a stitch to, received NaN or infinity: a network diverged, or its "
            "inputs are not normalised as those that it was trained on."
        )
