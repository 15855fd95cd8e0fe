"""Affine least squares and ridge: the best of all affine maps.

The normal equations are solved by an eigendecomposition of the covariance of the front's channels. Directions in which
the channels do not vary (dead channels, copies) have eigenvalues that are rounding; they are left out, which is the
pseudo-inverse: among all minimisers the one of the smallest ``|W|``. The bias is not part of the norm: it is whatever
makes the means equal, ``b = mean(y) - W mean(x)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.stitching.direct.stitch import DirectStitch, check_rows, direct_stitch

if TYPE_CHECKING:
    from weightscape.similarity.moments import Moments

TOLERANCE = 1e-12
"""Eigenvalues below this share of the largest one count as 0: a direction a million times narrower than the widest."""


def least_squares(moments: Moments, *, tolerance: float = TOLERANCE) -> DirectStitch:
    """Return the affine map of least squared error, ``min sum |W x + b - y|²``.

    Args:
        moments: Of the two layers, on training data.
        tolerance: Eigenvalues of the front's covariance below this share of the largest one count as 0.

    Raises:
        DataError: If there are fewer than two rows, or activations are not finite.
    """
    check_rows(moments)
    weight = solve_symmetric(moments.first, moments.cross, tolerance=tolerance).T.contiguous()
    return direct_stitch("least-squares", weight, affine_bias(moments, weight), moments)


def ridge(moments: Moments, *, penalty: float, tolerance: float = TOLERANCE) -> DirectStitch:
    """Return the affine map that minimises ``mean over rows |W x + b - y|² + penalty * |W|²``.

    The error is a mean over rows, so that a penalty means the same for any number of images; the bias is free.

    Args:
        moments: Of the two layers, on training data.
        penalty: Not negative; 0 is least squares.
        tolerance: See :func:`least_squares`.

    Raises:
        DataError: If the penalty is negative, there are fewer than two rows, or activations are not finite.
    """
    check_rows(moments)
    if not penalty >= 0:
        raise DataError(f"Expected a ridge penalty of 0 or more, received {penalty}.")
    weight = solve_symmetric(moments.first, moments.cross, shift=penalty * moments.count, tolerance=tolerance)
    weight = weight.T.contiguous()
    return direct_stitch("ridge", weight, affine_bias(moments, weight), moments, penalty=penalty)


def affine_bias(moments: Moments, weight: Tensor) -> Tensor:
    """Return the best bias of a given W ``(C2,)``: it makes the means equal."""
    return moments.second_mean - weight @ moments.first_mean


def solve_symmetric(matrix: Tensor, sides: Tensor, *, shift: float = 0.0, tolerance: float = TOLERANCE) -> Tensor:
    """Return the minimum-norm X that solves ``(matrix + shift * I) X = sides`` as well as possible.

    Args:
        matrix: Symmetric, positive semi-definite ``(n, n)``.
        sides: Right-hand sides ``(n, m)``.
        shift: Added to all eigenvalues.
        tolerance: Eigenvalues (before the shift) below this share of the largest one count as 0, and their directions
            are left out.
    """
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > tolerance * values[-1].clamp(min=0)
    inverse = torch.where(kept, 1 / torch.where(kept, values + shift, 1.0), 0.0)
    solution: Tensor = vectors @ (inverse[:, None] * (vectors.T @ sides))
    return solution
