"""Stitches that give every channel of the back one channel of the front, by their correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from weightscape.errors import DataError
from weightscape.stitching.direct.least_squares import affine_bias
from weightscape.stitching.direct.stitch import DirectStitch, check_rows, direct_stitch, varying
from weightscape.symmetry.assignment import solve_assignment

if TYPE_CHECKING:
    from weightscape.similarity.moments import Moments

Scaling: TypeAlias = Literal["none", "fitted"]


def correlations(moments: Moments) -> Tensor:
    """Return Pearson's correlation of each channel of the back with each of the front ``(C2, C1)``.

    A channel that does not vary has the correlation 0 with all others.
    """
    alive = _varying_back(moments)[:, None] & _varying_front(moments)
    scales = moments.second.diagonal().clamp(min=0).sqrt()[:, None] * moments.first.diagonal().clamp(min=0).sqrt()
    return torch.where(alive, moments.cross.T / torch.where(alive, scales, 1.0), 0.0)


def best_inputs(moments: Moments, *, absolute: bool = False) -> Tensor:
    """Return for each channel of the back the channel of the front that is most correlated with it ``(C2,)``.

    Several may have the same. A channel that does not vary is chosen only where no channel varies.

    Args:
        moments: Of the two layers.
        absolute: Look at the size of the correlation alone, not at its sign.
    """
    found = correlations(moments)
    found = found.abs() if absolute else found
    return found.masked_fill(~_varying_front(moments), -2.0).argmax(1)


def identity(moments: Moments) -> DirectStitch:
    """Return the stitch that leaves activations as they are.

    Raises:
        DataError: If the layers have different numbers of channels, or there is nothing to measure its error on.
    """
    check_rows(moments)
    inputs, outputs = moments.cross.shape
    if inputs != outputs:
        raise DataError(
            f"The identity needs equal numbers of channels, received {inputs} and {outputs}. Take 'semi-match', "
            "'least-squares' or 'reduced-rank'."
        )
    weight = torch.eye(inputs, dtype=moments.cross.dtype, device=moments.cross.device)
    return direct_stitch("identity", weight, torch.zeros_like(moments.second_mean), moments, rank=inputs)


def permutation(moments: Moments, *, scaling: Scaling = "none") -> DirectStitch:
    """Return the one-to-one matching of the largest sum of correlations.

    With more channels in the front than in the back, some stay without a partner.

    Args:
        moments: Of the two layers, on training data.
        scaling: With ``none`` W has ones and there is no bias: a relabelling of channels. With ``fitted`` each matched
            channel has the coefficient and bias of least squares.

    Raises:
        DataError: If the back has more channels than the front, there are fewer than two rows, or activations are not
            finite.
    """
    check_rows(moments)
    inputs, outputs = moments.cross.shape
    if outputs > inputs:
        raise DataError(
            f"A one-to-one matching needs a channel of the front for each of the back, received {inputs} for "
            f"{outputs}. Take 'semi-match', in which channels may be used twice, or stitch in the other direction."
        )
    # Rows of zeros take the channels that are left over.
    gain = functional.pad(correlations(moments), (0, 0, 0, inputs - outputs))
    chosen = solve_assignment(gain)[:outputs].to(moments.cross.device)
    return _selection("permutation", moments, chosen, scaling)


def semi_match(moments: Moments, *, absolute: bool = False, scaling: Scaling = "fitted") -> DirectStitch:
    """Return the stitch in which each channel of the back has the one of the front that correlates best with it.

    Args:
        moments: Of the two layers, on training data.
        absolute: Choose by the size of the correlation, whatever its sign.
        scaling: See :func:`permutation`.

    Raises:
        DataError: If there are fewer than two rows, or activations are not finite.
    """
    check_rows(moments)
    chosen = best_inputs(moments, absolute=absolute)
    return _selection("abs-semi-match" if absolute else "semi-match", moments, chosen, scaling)


def selection_mask(chosen: Tensor, inputs: int) -> Tensor:
    """Return the mask ``(C2, C1)`` of booleans with one true entry per row, at the chosen channels ``(C2,)``."""
    return functional.one_hot(chosen, inputs).bool()


def _selection(
    method: Literal["permutation", "semi-match", "abs-semi-match"], moments: Moments, chosen: Tensor, scaling: Scaling
) -> DirectStitch:
    weight = selection_mask(chosen, len(moments.first_mean)).to(moments.cross.dtype)
    if scaling == "none":
        return direct_stitch(method, weight, torch.zeros_like(moments.second_mean), moments)
    alive = _varying_front(moments)
    slopes = moments.cross.T / torch.where(alive, moments.first.diagonal(), 1.0)
    weight = weight * torch.where(alive, slopes, 0.0)
    return direct_stitch(method, weight, affine_bias(moments, weight), moments)


def _varying_front(moments: Moments) -> Tensor:
    return varying(moments.first, moments.first_mean, moments.count)


def _varying_back(moments: Moments) -> Tensor:
    return varying(moments.second, moments.second_mean, moments.count)
