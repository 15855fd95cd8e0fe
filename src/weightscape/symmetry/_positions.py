"""The positions of all axes of all values of a network, and which of them must move together.

Nodes are single positions of an axis; a *relation* joins positions of two axes that an operation ties to each other.
Units are the connected components. Two units may be exchanged exactly when that maps every relation onto itself; with
positions inside a unit counted by their rank on each axis, that is equality of two lists, the units' *signatures*.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Label: TypeAlias = int | str
"""An axis of a value: the number of a tracked axis, or, of an axis that never moves, the reason for that."""

Integers: TypeAlias = NDArray[np.int64]


@dataclass
class Positions:
    """Axes, relations between their positions, positions that must not move, and blocks that must stay whole.

    Attributes:
        sizes: Length of each axis.
        relations: Per relation: axis and positions, axis and positions, and a tag per pair; pairs with different tags
            cannot stand for each other.
        pins: Axis, positions (all for None) and the reason why they must not move.
        blocks: Per constraint the axes that it divides into as many equal blocks; blocks move as wholes and alike.
    """

    sizes: list[int] = field(default_factory=list)
    relations: list[tuple[int, Integers, int, Integers, Integers]] = field(default_factory=list)
    pins: list[tuple[int, Integers | None, str]] = field(default_factory=list)
    blocks: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)

    def axis(self, size: int) -> int:
        """Return the number of a new axis."""
        self.sizes.append(size)
        return len(self.sizes) - 1

    def pin(self, label: Label, reason: str, at: Integers | None = None) -> None:
        """Forbid positions of an axis, all by default, to move."""
        if not isinstance(label, str):
            self.pins.append((label, at, reason))

    def relate(
        self,
        left: Label,
        right: Label,
        at_left: Integers | None = None,
        at_right: Integers | None = None,
        *,
        tags: Integers | None = None,
    ) -> None:
        """Tie positions of two axes, all of them in order by default; one that never moves pins the other."""
        if isinstance(left, str):
            if not isinstance(right, str):
                self.pin(right, left, at_right)
            return
        if isinstance(right, str):
            self.pin(left, right, at_left)
            return
        if left == right and at_left is None and at_right is None:
            return
        first = np.arange(self.sizes[left]) if at_left is None else at_left
        second = np.arange(self.sizes[right]) if at_right is None else at_right
        self.relations.append((left, first, right, second, np.zeros_like(first) if tags is None else tags))

    def join(self, labels: list[Label]) -> Label:
        """Tie axes of equal length to each other and return one that stands for all."""
        tracked = [label for label in labels if not isinstance(label, str)]
        if not tracked:
            return labels[0]
        for label in labels:
            self.relate(tracked[0], label)
        return tracked[0]


@dataclass(frozen=True)
class Units:
    """The connected components of :class:`Positions`.

    Attributes:
        unit: Unit of each position of all axes, one axis after the other.
        starts: Where each axis starts in `unit`.
        reasons: Per unit why it must not move; empty for those that may.
        signatures: Per unit that may move what it must have in common with the units it changes places with.
        members: Per unit that may move its positions per axis, ``{axis: positions}``.
    """

    unit: Integers
    starts: Integers
    reasons: list[str]
    signatures: dict[int, bytes]
    members: dict[int, dict[int, Integers]]

    def of_axis(self, axis: int) -> Integers:
        """Return the unit of each position of an axis."""
        return self.unit[self.starts[axis] : self.starts[axis + 1]]


def find_units(positions: Positions) -> Units:
    """Return the units, with the reasons of those that are pinned and the signatures of the others."""
    sizes = np.asarray(positions.sizes, dtype=np.int64)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)])
    edges = _edges(positions, starts)
    total = int(starts[-1])
    graph = coo_array((np.ones(len(edges)), (edges[:, 2], edges[:, 3])), shape=(total, total))
    count, found = connected_components(graph, directed=False)
    unit = found.astype(np.int64)
    reasons = _reasons(positions, starts, unit, count)
    free = np.array([not reason for reason in reasons], dtype=bool)
    ranks, members = _members(unit, starts, free)
    signatures = _signatures(edges[free[unit[edges[:, 2]]]], unit, ranks, members)
    return Units(unit, starts, reasons, signatures, members)


def _edges(positions: Positions, starts: Integers) -> Integers:
    """Return one row per related pair: relation, tag, node, node."""
    rows = [
        np.stack([np.full_like(at, number), tags, starts[left] + at, starts[right] + to], axis=1)
        for number, (left, at, right, to, tags) in enumerate(positions.relations)
    ]
    return np.concatenate([np.zeros((0, 4), dtype=np.int64), *rows])


def _reasons(positions: Positions, starts: Integers, unit: Integers, count: int) -> list[str]:
    """Return the reason of the first pin of each unit."""
    first = np.full(count, -1, dtype=np.int64)
    for number, (axis, at, _) in enumerate(positions.pins):
        touched = unit[starts[axis] : starts[axis + 1]] if at is None else unit[starts[axis] + at]
        first[touched[first[touched] < 0]] = number
    return [positions.pins[number][2] if number >= 0 else "" for number in first.tolist()]


def _members(
    unit: Integers, starts: Integers, free: NDArray[np.bool_]
) -> tuple[Integers, dict[int, dict[int, Integers]]]:
    """Return each node's rank among the nodes of its unit on its axis, and the positions per free unit and axis."""
    axis = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    ranks = np.zeros_like(unit)
    nodes = np.flatnonzero(free[unit])
    nodes = nodes[np.lexsort((nodes, axis[nodes], unit[nodes]))]
    members: dict[int, dict[int, Integers]] = {}
    if not len(nodes):
        return ranks, members
    breaks = np.flatnonzero((np.diff(unit[nodes]) != 0) | (np.diff(axis[nodes]) != 0)) + 1
    for part in np.split(nodes, breaks):
        ranks[part] = np.arange(len(part))
        here = int(axis[part[0]])
        members.setdefault(int(unit[part[0]]), {})[here] = part - starts[here]
    return ranks, members


def _signatures(
    edges: Integers, unit: Integers, ranks: Integers, members: dict[int, dict[int, Integers]]
) -> dict[int, bytes]:
    owner = unit[edges[:, 2]]
    rows = np.column_stack([edges[:, 0], edges[:, 1], ranks[edges[:, 2]], ranks[edges[:, 3]]])
    order = np.lexsort((rows[:, 3], rows[:, 2], rows[:, 1], rows[:, 0], owner))
    rows, owner = rows[order], owner[order]
    breaks = np.flatnonzero(np.diff(owner)) + 1
    ties = (
        {
            int(first): part.tobytes()
            for first, part in zip(owner[np.r_[0, breaks]], np.split(rows, breaks), strict=True)
        }
        if len(owner)
        else {}
    )
    return {
        name: repr([(axis, len(at)) for axis, at in held.items()]).encode() + b"|" + ties.get(name, b"")
        for name, held in members.items()
    }
