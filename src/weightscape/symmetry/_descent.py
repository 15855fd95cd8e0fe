"""The steps of block coordinate descent: solve one group, or one set of linked groups, and keep what gains."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from weightscape.symmetry._blocks import solve_blocks
from weightscape.symmetry.assignment import solve_assignment
from weightscape.symmetry.costs import PairCosts
from weightscape.symmetry.groups import Group, Symmetry

_Value = TypeVar("_Value")


@dataclass
class Descent:
    """The state of one search: the present index vectors, and which units of work may still gain.

    Attributes:
        costs: The pairs to match.
        indices: Group name -> present index vector.
        tolerance: Smallest gain that counts, relative to the norms of the tensors of the group.
        units: What is solved in one go: a group, or all groups linked to one another.
        waiting: Numbers of the units that were never solved or whose neighbours have moved since.
        solves: Groups solved so far.
        solver_seconds: Time in assignment problems.
    """

    costs: PairCosts
    indices: dict[str, Tensor]
    tolerance: float
    units: list[tuple[Group, ...]] = field(init=False)
    waiting: set[int] = field(init=False)
    solves: int = 0
    solver_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.units = linked_groups(self.costs.symmetry)
        self.waiting = set(range(len(self.units)))
        self._home = {group.name: number for number, unit in enumerate(self.units) for group in unit}

    def visit(self, number: int) -> None:
        """Solve a unit of work, if it is waiting."""
        if number not in self.waiting:
            return
        self.waiting.discard(number)
        groups = self.units[number]
        self.solves += len(groups)
        if groups[0].blocks == 1:
            moved = self._assign_freely(groups[0])
        else:
            moved = self._assign_blocks(groups)
            if not moved and len(groups) > 1:
                moved = sum(map(self._assign_inside, groups)) > 0
        if moved:
            touched = (name for group in groups for name in self.costs.neighbours(group.name))
            self.waiting |= {self._home[name] for name in touched}

    def _assign_freely(self, group: Group) -> bool:
        cost = self.costs._cost(group.name, self.indices).cpu()
        return self._accept({group.name: self._timed(lambda: solve_assignment(cost))}, cost)

    def _assign_blocks(self, groups: tuple[Group, ...]) -> bool:
        """Assign blocks, and the units inside them, of linked groups together."""
        names = {group.name for group in groups}
        between = [
            coupling
            for coupling in self.costs._between(names)
            if coupling.piece.blocks > 1 and names.issuperset(coupling.groups)
        ]
        parts = {name: self.costs._cost(name, self.indices, without=between).cpu() for name in names}
        found = self._timed(lambda: solve_blocks(groups, parts, self.indices, between))
        return self._accept(found, parts[groups[0].name] if len(groups) == 1 else None)

    def _assign_inside(self, group: Group) -> bool:
        """Assign the units inside the blocks of one group; its blocks, and linked groups, stay where they are."""
        length = group.size // group.blocks
        cost = self.costs._cost(group.name, self.indices).cpu()
        sources = self.indices[group.name].reshape(group.blocks, length)[:, 0] // length
        tiles = cost.reshape(group.blocks, length, group.blocks, length)[torch.arange(group.blocks), :, sources]
        inside = self._timed(lambda: torch.stack([solve_assignment(tile) for tile in tiles]))
        return self._accept({group.name: (inside + sources[:, None] * length).reshape(-1)}, cost)

    def _accept(self, found: dict[str, Tensor], cost: Tensor | None) -> bool:
        """Take over new index vectors if they gain; the gain is read off the cost where that is exact."""
        (name, *others) = found
        if cost is None or name in self.costs.neighbours(name):
            gain = self.costs._value(found, {**self.indices, **found}) - self.costs._value(found, self.indices)
        else:
            rows = torch.arange(len(cost))
            gain = float((cost[rows, found[name]].double() - cost[rows, self.indices[name]].double()).sum())
        if not gain > self.tolerance * max(self.costs.scale(each) for each in (name, *others)):
            return False
        self.indices.update(found)
        return True

    def _timed(self, solve: Callable[[], _Value]) -> _Value:
        began = time.perf_counter()
        found = solve()
        self.solver_seconds += time.perf_counter() - began
        return found


def linked_groups(symmetry: Symmetry) -> list[tuple[Group, ...]]:
    """Return the groups, those linked to one another (directly or through others) together."""
    remaining = {group.name: group for group in symmetry.groups}
    links: dict[str, set[str]] = {name: set() for name in remaining}
    for group in symmetry.groups:
        for name in group.linked:
            links[group.name].add(name)
            links[name].add(group.name)
    units = []
    while remaining:
        reached: dict[str, Group] = {}
        waiting = [next(iter(remaining))]
        while waiting:
            name = waiting.pop()
            if name in remaining:
                reached[name] = remaining.pop(name)
                waiting += links[name]
        units.append(tuple(sorted(reached.values(), key=lambda group: symmetry.names.index(group.name))))
    return units
