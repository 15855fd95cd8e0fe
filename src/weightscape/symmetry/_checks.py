"""Refuse index vectors and tensors that do not fit a symmetry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from weightscape.errors import SymmetryError
from weightscape.symmetry.groups import Axis, Group, Symmetry


def block_order(group: Group, index: Tensor) -> Tensor:
    """Return where each block of a group comes from, ``(blocks,)``."""
    length = group.size // group.blocks
    return index.reshape(group.blocks, length)[:, 0] // length


def checked_index(group: Group, index: Tensor) -> Tensor:
    """Return a copy of an index vector, on the CPU.

    Raises:
        SymmetryError: If it is not a permutation of the group or breaks its blocks.
    """
    copied = index.detach().to("cpu", torch.int64, copy=True)
    if copied.shape != (group.size,) or not torch.equal(copied.sort().values, torch.arange(group.size)):
        raise SymmetryError(
            f"The group {group.name!r} expects a permutation of 0 to {group.size - 1}, received a vector of shape "
            f"{tuple(copied.shape)}{_repeated(copied)}."
        )
    sources = copied.reshape(group.blocks, -1) // (group.size // group.blocks)
    broken = (sources != sources[:, :1]).any(dim=1).nonzero().flatten().tolist()
    if broken:
        raise SymmetryError(
            f"The group {group.name!r} must move its {group.blocks} blocks of {group.size // group.blocks} units as "
            f"wholes, but block {broken[0]} draws units from the blocks {sorted(set(sources[broken[0]].tolist()))}."
        )
    return copied


def _repeated(index: Tensor) -> str:
    twice = [value for value, count in Counter(index.reshape(-1).tolist()).items() if count > 1]
    return f" in which {twice[0]} occurs more than once" if twice else ""


def check_links(symmetry: Symmetry, indices: Mapping[str, Tensor]) -> None:
    """Check that linked groups move their blocks alike.

    Raises:
        SymmetryError: Naming two groups that do not.
    """
    for group in symmetry.groups:
        for name in group.linked:
            mine, theirs = (block_order(one, indices[one.name]) for one in (group, symmetry.group(name)))
            if not torch.equal(mine, theirs):
                raise SymmetryError(
                    f"The groups {group.name!r} and {name!r} are linked and must move their blocks alike, received the "
                    f"block orders {mine.tolist()[:8]} and {theirs.tolist()[:8]}."
                )


def check_fits(group: Group, axis: Axis, tensor: Tensor) -> None:
    """Check that a tensor is long enough for the group that sits on its axis.

    Raises:
        SymmetryError: If it is not.
    """
    end = axis.offset + group.size * axis.repeat
    if axis.axis >= tensor.ndim or end > tensor.shape[axis.axis] * axis.grouped:
        raise SymmetryError(
            f"The group {group.name!r} reorders positions {axis.offset} to {end - 1} of {axis}, but that tensor has "
            f"the shape {tuple(tensor.shape)}. Discover the symmetry of this very architecture."
        )
