"""Where stitches begin."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weightscape.errors import ModelError
from weightscape.models.stitches import LowRankStitch, Stitch
from weightscape.seeds import stream
from weightscape.stitching.direct.least_squares import least_squares
from weightscape.stitching.direct.reduced_rank import reduced_rank
from weightscape.stitching.masks import check_permutable, drawn_permutation
from weightscape.stitching.settings import Init

if TYPE_CHECKING:
    from weightscape.similarity.moments import Moments


def begin(
    stitch: Stitch, init: Init, *, mask: Tensor | None = None, moments: Moments | None = None, seed: int = 0
) -> None:
    """Set a stitch to where it begins, in place: the initialisation, and 0 where the mask says so.

    Everything that is drawn comes from the stream ``init`` of the seed, so that neither what was drawn before nor the
    order in which stitches are made has any effect.

    Args:
        stitch: The stitch, on the CPU.
        init: Where it begins; see :data:`~weightscape.stitching.settings.Init`.
        mask: True where an entry of the matrix may differ from 0 ``(C2, C1)``.
        moments: Of the two layers on the training split, for ``ps_inv``.
        seed: Draws the numbers.

    Raises:
        ModelError: If the initialisation needs equal numbers of channels, or is not there for a low rank.
    """
    with torch.no_grad():
        if isinstance(stitch, LowRankStitch):
            _begin_low_rank(stitch, init, moments, seed)
            return
        weight, bias = _affine(init, *stitch.weight.shape, moments=moments, seed=seed)
        stitch.weight.copy_(weight if mask is None else weight * mask)
        stitch.bias.copy_(bias)


def check_channels(init: Init, *, outputs: int, inputs: int) -> None:
    """Check that a stitch between so many channels can begin so.

    Raises:
        ModelError: If the initialisation needs equal numbers of channels.
    """
    if init == "perm":
        check_permutable(outputs, inputs)
    if init in {"eye", "ones-zeros"} and outputs != inputs:
        raise ModelError(
            f"The initialisation {init!r} needs equal numbers of channels, received {inputs} in the front and "
            f"{outputs} in the back network. Take 'ps_inv', 'random' or 'orthogonal'."
        )


def _affine(init: Init, outputs: int, inputs: int, *, moments: Moments | None, seed: int) -> tuple[Tensor, Tensor]:
    """Return matrix ``(C2, C1)`` and bias ``(C2,)``.

    Raises:
        ModelError: If it needs equal numbers of channels.
    """
    if init == "ps_inv":
        assert moments is not None
        found = least_squares(moments)
        return found.weight, found.bias
    if init == "random":
        return _uniform((outputs, inputs), inputs, seed, "weight"), _uniform((outputs,), inputs, seed, "bias")
    bias = torch.zeros(outputs)
    if init == "orthogonal":
        return _orthogonal(outputs, inputs, seed, "weight"), bias
    if init == "perm":
        return drawn_permutation(outputs, inputs, seed=seed, purpose="perm").float(), bias
    check_channels(init, outputs=outputs, inputs=inputs)
    return torch.eye(inputs) if init == "eye" else torch.ones(outputs, inputs), bias


def _begin_low_rank(stitch: LowRankStitch, init: Init, moments: Moments | None, seed: int) -> None:
    """Set factors and bias.

    Raises:
        ModelError: If there is no such initialisation of a low rank.
    """
    rank, inputs = stitch.inner.shape
    outputs = len(stitch.outer)
    if init == "ps_inv":
        assert moments is not None
        inner, outer, bias = _fitted_factors(moments, rank)
        stitch.inner.copy_(inner)
        stitch.outer.copy_(outer)
        stitch.bias.copy_(bias)
    elif init == "orthogonal":
        stitch.inner.copy_(_orthogonal(rank, inputs, seed, "inner"))
        stitch.outer.copy_(_orthogonal(outputs, rank, seed, "outer"))
        stitch.bias.zero_()
    elif init == "random":
        stitch.inner.copy_(_uniform((rank, inputs), inputs, seed, "inner"))
        stitch.outer.copy_(_uniform((outputs, rank), rank, seed, "outer"))
        stitch.bias.copy_(_uniform((outputs,), rank, seed, "bias"))
    else:
        raise ModelError(f"A stitch of low rank begins at 'ps_inv', 'random' or 'orthogonal', received {init!r}.")


def _fitted_factors(moments: Moments, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the factors and bias of the best map of a rank, the factors of equal size (equal singular values)."""
    found = reduced_rank(moments)
    left, values, right = torch.linalg.svd(found.at(rank).weight, full_matrices=False)
    root = values[:rank].sqrt()
    return root[:, None] * right[:rank], left[:, :rank] * root, found.at(rank).bias


def _uniform(shape: tuple[int, ...], inputs: int, seed: int, name: str) -> Tensor:
    """Return numbers uniform within ``1 / sqrt(inputs)``, as PyTorch begins convolutions and linear layers."""
    bound = 1 / math.sqrt(inputs)
    return torch.empty(shape).uniform_(-bound, bound, generator=stream(seed, "init", "stitch", name))


def _orthogonal(rows: int, columns: int, seed: int, name: str) -> Tensor:
    return nn.init.orthogonal_(torch.empty(rows, columns), generator=stream(seed, "init", "stitch", name))
