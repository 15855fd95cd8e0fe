"""Orthogonal Procrustes: the best rotation or reflection, with and without centring (Schönemann 1966)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weightscape.errors import DataError
from weightscape.stitching.direct.least_squares import affine_bias
from weightscape.stitching.direct.reduced_rank import uncentred_cross
from weightscape.stitching.direct.stitch import DirectStitch, check_rows, direct_stitch

if TYPE_CHECKING:
    from weightscape.similarity.moments import Moments


def orthogonal(moments: Moments, *, centred: bool = False) -> DirectStitch:
    """Return the map with orthonormal columns, ``Wᵀ W = I``, of least squared error.

    To more channels it is semi-orthogonal: it keeps all lengths. To fewer channels a map with orthonormal rows drops
    directions, its problem has no closed form, and it is refused.

    Args:
        moments: Of the two layers, on training data.
        centred: Rotate about the means, with the bias that makes them equal; without it about 0, with no bias, as the
            published code does.

    Raises:
        DataError: If the back layer has fewer channels than the front layer, there are fewer than two rows, or
            activations are not finite.
    """
    check_rows(moments)
    inputs, outputs = moments.cross.shape
    if outputs < inputs:
        raise DataError(
            f"A rotation keeps all directions and cannot lead from {inputs} channels to {outputs}. Take the method "
            f"'reduced-rank' or 'least-squares', or stitch in the other direction."
        )
    left, _, right = torch.linalg.svd(moments.cross if centred else uncentred_cross(moments), full_matrices=False)
    weight = (left @ right).T.contiguous()
    bias = affine_bias(moments, weight) if centred else torch.zeros_like(moments.second_mean)
    return direct_stitch("orthogonal-centred" if centred else "orthogonal", weight, bias, moments, rank=inputs)
