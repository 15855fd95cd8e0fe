"""Cut the tensors of a network into pieces in which every axis belongs to one group or to none.

Concatenations (offsets), flattened maps (repeats) and grouped convolutions end here: a piece is an array
``(units of the first group, units of the second group, everything else)``, and the costs know nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from weightscape.errors import SymmetryError
from weightscape.symmetry.groups import Axis, Group, Symmetry


@dataclass(frozen=True)
class Segment:
    """Consecutive positions of one axis: `size` units of `repeat` positions, of a group or (None) of no group."""

    start: int
    size: int
    repeat: int = 1
    group: str | None = None


@dataclass(frozen=True)
class Piece:
    """Part of one tensor.

    Attributes:
        tensor: Name in the state dict.
        segments: One per axis of the tensor.
        groups: The groups of the leading axes of :meth:`extract`; the same group may come twice.
        blocks: ``B > 1``: the tensor is the weight of a convolution in B groups and is extracted block by block.
        dense: ``G > 1``: the tensor is first expanded to the block-diagonal weight of G blocks that it stands for.
    """

    tensor: str
    segments: tuple[Segment, ...]
    groups: tuple[str, ...]
    blocks: int = 1
    dense: int = 1

    def extract(self, tensor: Tensor) -> Tensor:
        """Return the piece as ``(n_first, ..., rest)``, or ``(B, n_first / B, n_second / B, rest)`` for blocks."""
        if self.blocks > 1:
            rows, length = tensor.shape[:2]
            return tensor.reshape(self.blocks, rows // self.blocks, length, -1)
        if self.dense > 1:
            tensor = _expanded(tensor, self.dense)
        for axis, segment in enumerate(self.segments):
            tensor = tensor.narrow(axis, segment.start, segment.size * segment.repeat)
        split = tensor.reshape([length for segment in self.segments for length in (segment.size, segment.repeat)])
        units = [2 * axis for axis, segment in enumerate(self.segments) if segment.group]
        rest = [axis for axis in range(split.ndim) if axis not in units]
        leading = [split.shape[axis] for axis in units]
        return split.permute(*units, *rest).reshape(*leading, -1)


def cut(symmetry: Symmetry, shapes: Mapping[str, torch.Size]) -> list[Piece]:
    """Return the pieces of all tensors, which together cover every entry once.

    Raises:
        SymmetryError: If an axis does not fit its tensor, or two groups overlap on one axis.
    """
    uses = symmetry.by_tensor()
    return [piece for name, shape in shapes.items() for piece in _pieces(name, shape, uses.get(name, []))]


def _pieces(name: str, shape: torch.Size, uses: list[tuple[Group, Axis]]) -> Iterator[Piece]:
    lengths, blocks, dense = list(shape), 1, 1
    grouped = max((axis.grouped for _, axis in uses), default=1)
    if grouped > 1 and _is_depthwise(uses, grouped):
        uses = [(group, axis) for group, axis in uses if axis.grouped == 1]
    elif grouped > 1:
        lengths[1] *= grouped
        regular = _is_regular(lengths, uses, grouped)
        blocks, dense = (grouped, 1) if regular else (1, grouped)
    by_axis = [_segments(name, axis, length, uses) for axis, length in enumerate(lengths)]
    for segments in product(*by_axis):
        groups = tuple(segment.group for segment in segments if segment.group is not None)
        yield Piece(name, segments, groups, blocks, dense)


def _segments(name: str, axis: int, length: int, uses: list[tuple[Group, Axis]]) -> list[Segment]:
    found = sorted(
        (Segment(use.offset, group.size, use.repeat, group.name) for group, use in uses if use.axis == axis),
        key=lambda segment: segment.start,
    )
    segments: list[Segment] = []
    position = 0
    for segment in [*found, Segment(length, 0)]:
        if segment.start < position or segment.start + segment.size * segment.repeat > length:
            raise SymmetryError(
                f"The group {segment.group!r} takes {segment.size * segment.repeat} positions from {segment.start} on "
                f"axis {axis} of {name!r}, which has {length} positions, the first {position} of them taken. "
                "Discover the symmetry of this very architecture."
            )
        if segment.start > position:
            segments.append(Segment(position, segment.start - position))
        if segment.size:
            segments.append(segment)
        position = segment.start + segment.size * segment.repeat
    return segments


def _is_depthwise(uses: list[tuple[Group, Axis]], grouped: int) -> bool:
    """Whether one group owns the rows and the inputs, one unit per block: the diagonal moves as one axis."""
    rows = [use for use in uses if use[1].axis == 0]
    inputs = [use for use in uses if use[1].axis == 1]
    return (
        len(rows) == len(inputs) == 1
        and rows[0][0] == inputs[0][0]
        and rows[0][0].size == grouped
        and rows[0][1].repeat == 1
    )


def _is_regular(lengths: list[int], uses: list[tuple[Group, Axis]], grouped: int) -> bool:
    """Whether two different groups own all rows and all inputs and move the blocks of the convolution as wholes."""
    if len(uses) != 2 or {axis.axis for _, axis in uses} != {0, 1}:
        return False
    if uses[0][0].name == uses[1][0].name or any(group.blocks != grouped for group, _ in uses):
        return False
    return all(group.size == lengths[axis.axis] and axis.repeat == 1 for group, axis in uses)


def _expanded(tensor: Tensor, blocks: int) -> Tensor:
    rows, length = tensor.shape[0] // blocks, tensor.shape[1]
    full = tensor.new_zeros(tensor.shape[0], length * blocks, *tensor.shape[2:])
    for block in range(blocks):
        full[block * rows : (block + 1) * rows, block * length : (block + 1) * length] = tensor[
            block * rows : (block + 1) * rows
        ]
    return full
