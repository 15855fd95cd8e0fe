"""Stitches, the layers that lead from one network's activation to another's, and networks made with them.

Source: Csiszárik et al., "Similarity and Matching of Neural Network Representations" (arXiv 2110.14633), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightscape.errors import ModelError
from weightscape.models.cutting import Back
from weightscape.models.families import StitchForm, StitchResize

Form: TypeAlias = StitchForm
Resize: TypeAlias = StitchResize


class AffineStitch(nn.Module):
    """``y = W x + b`` on the channels of each pixel of a map ``(n, C1, ...)``, or on vectors ``(n, C1)``.

    Starts as the 1x1 convolution of PyTorch does: entries uniform within ``1 / sqrt(C1)``.

    Attributes:
        weight: W, ``(C2, C1)``.
        bias: b, ``(C2,)``.
        size: Height and width to which maps are resized before; None for none.
    """

    def __init__(self, inputs: int, outputs: int, *, size: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.size = size
        bound = 1 / sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, activation: Tensor) -> Tensor:
        """Return ``(n, C2, ...)``."""
        return on_channels(resized(activation, self.size), self.weight, self.bias)

    def matrix(self) -> Tensor:
        """Return W, ``(C2, C1)``."""
        return self.weight


class LowRankStitch(nn.Module):
    """``y = outer inner x + b`` on the channels of each pixel: affine, of a rank that is at most r.

    Starts with orthogonal factors and b = 0.

    Attributes:
        inner: ``(r, C1)``.
        outer: ``(C2, r)``.
        bias: b, ``(C2,)``.
        size: Height and width to which maps are resized before; None for none.
    """

    def __init__(self, inputs: int, outputs: int, *, rank: int, size: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.size = size
        if not 1 <= rank <= min(inputs, outputs):
            raise ModelError(
                f"Expected a rank from 1 to {min(inputs, outputs)} for a stitch from {inputs} to {outputs} channels, "
                f"received {rank}."
            )
        self.inner = nn.Parameter(nn.init.orthogonal_(torch.empty(rank, inputs)))
        self.outer = nn.Parameter(nn.init.orthogonal_(torch.empty(outputs, rank)))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, activation: Tensor) -> Tensor:
        """Return ``(n, C2, ...)``."""
        inner = on_channels(resized(activation, self.size), self.inner, None)
        return on_channels(inner, self.outer, self.bias)

    def matrix(self) -> Tensor:
        """Return the product of the factors, ``(C2, C1)``."""
        return self.outer @ self.inner


class FlatStitch(nn.Module):
    """``y = W x + b`` on whole activations, flattened: every pixel and channel leads to every other.

    Starts as the linear layer of PyTorch does: entries uniform within ``1 / sqrt(d1)``.

    Attributes:
        weight: W, ``(d2, d1)``; the entries of a map in the order channels, height, width.
        bias: b, ``(d2,)``.
        shape: Shape of the result, without the batch.
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(outputs)
        bound = 1 / sqrt(prod(inputs))
        self.weight = nn.Parameter(torch.empty(prod(outputs), prod(inputs)).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(prod(outputs)).uniform_(-bound, bound))

    def forward(self, activation: Tensor) -> Tensor:
        """Return ``(n, *shape)``."""
        # reshape, not view: a map in the layout channels last lies in memory in another order
        flat = activation.reshape(len(activation), -1)
        return functional.linear(flat, self.weight, self.bias).reshape(len(activation), *self.shape)


Stitch: TypeAlias = AffineStitch | LowRankStitch | FlatStitch


def matrix_of(stitch: Stitch) -> Tensor:
    """Return the matrix of a stitch, ``(C2, C1)``, or ``(d2, d1)`` of a flat one; the parameter itself if it is one."""
    return stitch.weight if isinstance(stitch, FlatStitch) else stitch.matrix()


def make_stitch(
    front: Sequence[int],
    back: Sequence[int],
    *,
    form: Form = "affine",
    rank: int | None = None,
    resize: Resize = "keep",
) -> Stitch:
    """Return an untrained stitch between activations of two shapes, drawn from torch's global generator.

    Args:
        front: Shape of the front's activation without the batch: ``(C1, H, W)``, ``(C1,)``, ...
        back: Shape of the back's activation.
        form: ``affine`` or ``low-rank`` on channels, or ``flat``.
        rank: Rank of ``low-rank``; the others have none.
        resize: What becomes of maps of another height and width than the back's: ``refuse`` them, ``keep`` them as they
            are, which a back network that pools takes, or resize them, ``bilinear``, before the stitch.

    Raises:
        ModelError: If the shapes cannot be stitched in that form, or the rank is impossible.
    """
    if (form == "low-rank") != (rank is not None):
        raise ModelError(
            f"Expected a rank for the form 'low-rank' and for no other, received {form!r} and rank {rank}."
        )
    if form == "flat":
        return FlatStitch(front, back)
    if len(front) != len(back):
        raise ModelError(
            f"Activations of shapes {tuple(front)} and {tuple(back)} cannot be stitched channel by channel: one has "
            "pixels, the other has none. Take a flat stitch (flatten: true), or layers of the same kind."
        )
    size = tuple(back[1:]) if resize == "bilinear" and tuple(front[1:]) != tuple(back[1:]) else None
    if size is not None and len(size) != 2:
        raise ModelError(f"Maps with height and width can be resized, received {tuple(front)} and {tuple(back)}.")
    if resize == "refuse" and tuple(front[1:]) != tuple(back[1:]):
        raise ModelError(
            f"The front's activation has shape {tuple(front)}, the back's {tuple(back)}: their maps have other sizes. "
            "Take resize 'bilinear' to resize them, 'keep' to go on with the front's size, or a flat stitch "
            "(flatten: true)."
        )
    if rank is not None:
        return LowRankStitch(front[0], back[0], rank=rank, size=size)
    return AffineStitch(front[0], back[0], size=size)


def resized(activation: Tensor, size: tuple[int, ...] | None) -> Tensor:
    """Return maps in another height and width, smoothed where they get smaller; as they are for None."""
    if size is None:
        return activation
    return functional.interpolate(activation, size, mode="bilinear", antialias=True)


def on_channels(activation: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``weight @ x + bias`` for the channels x (axis 1) of each pixel."""
    if activation.ndim == 2:
        return functional.linear(activation, weight, bias)
    if activation.ndim == 4:
        return functional.conv2d(activation, weight[:, :, None, None], bias)
    return functional.linear(activation.movedim(1, -1), weight, bias).movedim(-1, 1)


class StitchedNetwork(nn.Module):
    """One network up to a layer, a stitch, and another network from a layer on.

    The networks stay in evaluation mode whatever mode is set: batch norms use their running statistics, as they did
    when the networks were whole.

    Attributes:
        front: From the inputs to the front's activation.
        stitch: From the front's activation to the back's.
        back: From an activation and the inputs to the outputs.
    """

    def __init__(self, front: nn.Module, stitch: nn.Module, back: Back | nn.Module) -> None:
        super().__init__()
        self.front = front
        self.stitch = stitch
        self.back = back.whole if isinstance(back, Back) else back
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of the back network."""
        return self.back(self.stitch(self.front(inputs)), inputs)  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> StitchedNetwork:
        """Set the mode of the stitch; the networks stay in evaluation mode."""
        super().train(mode)
        self.front.eval()
        self.back.eval()
        return self
