"""Which entries of a stitch's matrix may differ from 0. The bias is never masked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weightscape.errors import ModelError
from weightscape.seeds import stream
from weightscape.stitching.direct.matching import best_inputs, selection_mask
from weightscape.stitching.settings import Mask

if TYPE_CHECKING:
    from weightscape.similarity.moments import Moments


def needs_moments(mask: Mask) -> bool:
    """Return whether a mask is estimated on data."""
    return mask in {"semi-match", "abs-semi-match"}


def make_mask(mask: Mask, *, outputs: int, inputs: int, moments: Moments | None = None, seed: int = 0) -> Tensor | None:
    """Return the mask ``(C2, C1)`` of booleans, true where an entry may differ from 0; None where all may.

    Args:
        mask: Which.
        outputs: Channels of the back network, C2.
        inputs: Channels of the front network, C1.
        moments: Of the two layers on the *training* split, for the semi-matches.
        seed: Draws the random permutation.

    Raises:
        ModelError: If a permutation is asked for between different numbers of channels.
    """
    if mask == "identity":
        return None
    if mask == "random-permutation":
        return drawn_permutation(outputs, inputs, seed=seed, purpose="mask")
    assert moments is not None
    return selection_mask(best_inputs(moments, absolute=mask == "abs-semi-match"), inputs).cpu()


def check_permutable(outputs: int, inputs: int) -> None:
    """Check that a permutation can lead from some channels to others.

    Raises:
        ModelError: If the numbers of channels differ.
    """
    if outputs != inputs:
        raise ModelError(
            f"A permutation needs equal numbers of channels, received {inputs} in the front and {outputs} in the back "
            "network. Take the mask 'semi-match' or the initialisation 'ps_inv'."
        )


def drawn_permutation(outputs: int, inputs: int, *, seed: int, purpose: str) -> Tensor:
    """Return a random permutation matrix of booleans: one true entry in every row and every column.

    Raises:
        ModelError: If the numbers of channels differ.
    """
    check_permutable(outputs, inputs)
    order = torch.randperm(inputs, generator=stream(seed, "init", "stitch", purpose))
    return selection_mask(order, inputs)
