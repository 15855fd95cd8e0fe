"""Permutation groups: which units of a network may be reordered, and where each unit sits in the weights.

A *unit* is one hidden neuron or channel. Units that may take each other's place form a group; the group lists the axes
of the state-dict tensors that must be reordered together. All of it is plain data, made by
:func:`weightscape.symmetry.discovery.discover`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from weightscape.errors import SymmetryError, did_you_mean

if TYPE_CHECKING:
    import pandas
    import torch

    from weightscape.symmetry.permutation import Permutation


@dataclass(frozen=True)
class Axis:
    """One axis of one tensor that a group reorders.

    Unit ``u`` sits at positions ``offset + u * repeat + (0, ..., repeat - 1)`` of the axis.

    Attributes:
        tensor: Name in the state dict.
        axis: Number of the axis.
        offset: First position of the group, above 0 behind a concatenation.
        repeat: Positions per unit, above 1 behind a flattened feature map.
        grouped: ``G > 1`` for axis 1 of the weight of a convolution in ``G`` groups, shape ``(out, in / G, ...)``.
            Positions then count along the input axis of length ``in`` of the block-diagonal weight it stands for.
    """

    tensor: str
    axis: int
    offset: int = 0
    repeat: int = 1
    grouped: int = 1

    def __str__(self) -> str:
        return f"{self.tensor}[axis {self.axis}]"

    @property
    def layer(self) -> str:
        """The name of the module that owns the tensor, empty for the network itself."""
        return self.tensor.rpartition(".")[0]


@dataclass(frozen=True)
class Group:
    """Units that may take each other's place.

    Attributes:
        name: The first layer whose outputs the group reorders.
        size: Number of units.
        axes: Where the units sit.
        blocks: ``B > 1``: only permutations are allowed that send each block of ``size / B`` consecutive units to a
            block as a whole, in any order inside (grouped convolutions, group norm).
        linked: Groups with as many blocks that must send block to block in the same way.
    """

    name: str
    size: int
    axes: tuple[Axis, ...]
    blocks: int = 1
    linked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fixed:
    """Positions of one axis of one tensor that no group reorders, and why.

    Attributes:
        tensor: Name in the state dict.
        axis: Number of the axis.
        size: Number of positions.
        reason: Why they stay where they are.
    """

    tensor: str
    axis: int
    size: int
    reason: str


@dataclass(frozen=True)
class ExampleInput:
    """Shape and type of one input with which a network was traced.

    Attributes:
        shape: Shape, the batch first.
        dtype: Name of the torch type, such as ``float32``.
    """

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Symmetry:
    """All permutation groups of a network, and the axes that stay fixed.

    Attributes:
        groups: The groups, in the order of the network's layers.
        fixed: The axes without a group.
        inputs: The inputs used for tracing, so that a later proof can draw inputs of the same kind.
    """

    groups: tuple[Group, ...]
    fixed: tuple[Fixed, ...] = ()
    inputs: tuple[ExampleInput, ...] = ()
    _by_name: dict[str, Group] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {group.name: group for group in self.groups})

    def __iter__(self) -> Iterator[Group]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the groups, in order."""
        return tuple(group.name for group in self.groups)

    def group(self, name: str) -> Group:
        """Return the group of this name.

        Raises:
            SymmetryError: If there is none.
        """
        if name not in self._by_name:
            raise SymmetryError(f"There is no permutation group {name!r}. {did_you_mean(name, self._by_name)}")
        return self._by_name[name]

    def by_tensor(self) -> dict[str, list[tuple[Group, Axis]]]:
        """Return what sits on each tensor: its groups, and where."""
        table: dict[str, list[tuple[Group, Axis]]] = {}
        for group in self.groups:
            for axis in group.axes:
                table.setdefault(axis.tensor, []).append((group, axis))
        return table

    def identity(self) -> Permutation:
        """Return the permutation that moves nothing."""
        from weightscape.symmetry.permutation import identity

        return identity(self)

    def random(self, generator: torch.Generator) -> Permutation:
        """Return a permutation drawn uniformly from the allowed ones."""
        from weightscape.symmetry.permutation import random_permutation

        return random_permutation(self, generator)

    def to_json(self) -> str:
        """Return the symmetry as JSON text."""
        return json.dumps({"groups": _plain(self.groups), "fixed": _plain(self.fixed), "inputs": _plain(self.inputs)})

    @classmethod
    def from_json(cls, text: str) -> Symmetry:
        """Undo :meth:`to_json`."""
        content = json.loads(text)
        return cls(
            groups=tuple(_read_group(group) for group in content["groups"]),
            fixed=tuple(Fixed(**fixed) for fixed in content["fixed"]),
            inputs=tuple(ExampleInput(tuple(item["shape"]), item["dtype"]) for item in content["inputs"]),
        )

    def to_frame(self) -> pandas.DataFrame:
        """Return one row per group, tensor and axis, then one per fixed axis with its reason."""
        import pandas

        moved = [
            {"group": group.name, "size": group.size, "blocks": group.blocks, **asdict(axis), "reason": ""}
            for group in self.groups
            for axis in group.axes
        ]
        still = [
            {"group": "", "blocks": 1, "offset": 0, "repeat": 1, "grouped": 1, **asdict(fixed)} for fixed in self.fixed
        ]
        columns = ["group", "size", "tensor", "axis", "offset", "repeat", "blocks", "grouped", "reason"]
        return pandas.DataFrame(moved + still, columns=columns)


def _plain(items: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [asdict(item) for item in items]


def _read_group(content: dict[str, Any]) -> Group:
    axes = tuple(Axis(**axis) for axis in content["axes"])
    return Group(content["name"], content["size"], axes, content["blocks"], tuple(content["linked"]))
