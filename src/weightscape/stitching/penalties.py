"""What a stitch is charged for besides its answers."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_magnitude(matrix: Tensor) -> Tensor:
    """Return the mean of the absolute entries of a matrix, those that a mask keeps at 0 included."""
    return matrix.abs().mean()


def batch_cka(first: Tensor, second: Tensor) -> Tensor:
    """Return the biased linear CKA of two activations of one batch, a scalar to differentiate.

    Each image is a row of all its channels and pixels (arXiv 1905.00414). Where one of the two does not vary over the
    batch, it is 0.

    Args:
        first: Activation ``(b, ...)``.
        second: Activation ``(b, ...)``, of any other shape.
    """
    one, other = _centred_gram(first), _centred_gram(second)
    scale = one.norm() * other.norm()
    return torch.where(scale > 0, (one * other).sum() / scale.clamp_min(torch.finfo(scale.dtype).tiny), 0.0)


def _centred_gram(activation: Tensor) -> Tensor:
    rows = activation.flatten(1)
    rows = rows - rows.mean(0)
    return rows @ rows.mT
