"""From units to groups: collect units of equal signature, whole blocks of them, and where they sit in the weights."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from weightscape.symmetry._positions import Integers, Positions, Units


@dataclass(frozen=True)
class Family:
    """Units that may change places, in order.

    Attributes:
        units: Numbers of the units; those of one block are consecutive.
        blocks: Number of blocks that move as wholes, 1 where any order is allowed.
        link: Equal for families whose blocks move alike; None for a family without blocks.
    """

    units: tuple[int, ...]
    blocks: int = 1
    link: int | None = None


def find_families(positions: Positions, units: Units) -> list[Family]:
    """Return all families of at least two units that may change places."""
    memberships = _memberships(positions, units)
    loose: dict[object, list[int]] = defaultdict(list)
    whole, immobile = _superblocks(memberships, units)
    for unit, signature in units.signatures.items():
        if unit not in memberships:
            loose[signature].append(unit)
        elif unit in immobile:
            loose[signature, tuple(memberships[unit])].append(unit)
    families = [Family(_in_order(part, units)) for part in loose.values()]
    for link, superblocks in enumerate(_alike(whole, units)):
        families += _block_families(superblocks, units, link)
    return [family for family in families if len(family.units) > 1]


def _in_order(part: Iterable[int], units: Units) -> tuple[int, ...]:
    """Sort units by their position on the first axis that holds them."""

    def first(unit: int) -> tuple[int, int]:
        axis, at = next(iter(units.members[unit].items()))
        return axis, int(at[0])

    return tuple(sorted(part, key=first))


def _memberships(positions: Positions, units: Units) -> dict[int, list[tuple[int, int]]]:
    """Return the blocks of each unit's positions, in order: pairs of a constraint and the number of a block in it."""
    memberships: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for constraint, (count, axes) in enumerate(positions.blocks):
        for axis in axes:
            owners = units.of_axis(axis)
            for unit, block in zip(owners.tolist(), np.arange(len(owners)) // (len(owners) // count), strict=True):
                memberships[unit].append((constraint, int(block)))
    return memberships


def _superblocks(
    memberships: dict[int, list[tuple[int, int]]], units: Units
) -> tuple[list[tuple[frozenset[tuple[int, int]], list[int]]], set[int]]:
    """Join blocks that share a unit. Return those that may move, with their units, and the units of all others.

    Blocks stay in place when a unit of theirs does, and when they hold several blocks of one constraint, that is when
    constraints divide the same channels differently.
    """
    parent: dict[tuple[int, int], tuple[int, int]] = {}

    def root(block: tuple[int, int]) -> tuple[int, int]:
        while parent.setdefault(block, block) != block:
            block = parent[block]
        return block

    free = {unit: set(blocks) for unit, blocks in memberships.items() if not units.reasons[unit]}
    for blocks in free.values():
        first, *others = sorted(blocks)
        for other in others:
            parent[root(other)] = root(first)
    stuck = {root(block) for unit, blocks in memberships.items() if unit not in free for block in blocks}
    content: dict[tuple[int, int], set[tuple[int, int]]] = defaultdict(set)
    inhabitants: dict[tuple[int, int], list[int]] = defaultdict(list)
    for unit, blocks in free.items():
        content[root(next(iter(blocks)))] |= blocks
        inhabitants[root(next(iter(blocks)))].append(unit)
    for name, blocks in content.items():
        if len({constraint for constraint, _ in blocks}) < len(blocks):
            stuck.add(name)
    whole = [(frozenset(content[name]), inhabitants[name]) for name in content if name not in stuck]
    return whole, {unit for name in stuck for unit in inhabitants[name]}


def _alike(superblocks: list[tuple[frozenset[tuple[int, int]], list[int]]], units: Units) -> list[list[list[int]]]:
    """Collect the superblocks that may change places: same constraints, as many units of each signature."""
    alike: dict[object, list[tuple[list[tuple[int, int]], list[int]]]] = defaultdict(list)
    for blocks, inhabitants in superblocks:
        kinds = frozenset(Counter(units.signatures[unit] for unit in inhabitants).items())
        alike[frozenset(constraint for constraint, _ in blocks), kinds].append((sorted(blocks), inhabitants))
    return [[inhabitants for _, inhabitants in sorted(part)] for part in alike.values()]


def _block_families(superblocks: list[list[int]], units: Units, link: int) -> list[Family]:
    """Return one family per signature in the superblocks."""
    by_kind: dict[bytes, list[tuple[int, ...]]] = defaultdict(list)
    for inhabitants in superblocks:
        kinds: dict[bytes, list[int]] = defaultdict(list)
        for unit in inhabitants:
            kinds[units.signatures[unit]].append(unit)
        for kind, part in kinds.items():
            by_kind[kind].append(_in_order(part, units))
    joined = [tuple(unit for part in parts for unit in part) for parts in by_kind.values()]
    count = len(superblocks)
    if count == 1 or (len(joined) == 1 and len(joined[0]) == count):
        return [Family(part) for part in joined]
    return [Family(part, count, link) for part in joined]


def layout(places: Integers) -> list[tuple[int, int]] | None:
    """Write positions ``(units, positions per unit)`` as runs of ``offset + unit * repeat + (0, ..., repeat - 1)``.

    Returns:
        Offset and repeat of each run, or None where the positions are no such runs.
    """
    count, width = places.shape
    if count == 1:
        return None
    runs = []
    column = 0
    while column < width:
        offset, repeat = int(places[0, column]), int(places[1, column] - places[0, column])
        expected = offset + np.arange(count)[:, None] * repeat + np.arange(max(repeat, 0))
        if repeat < 1 or not np.array_equal(places[:, column : column + repeat], expected):
            return None
        runs.append((offset, repeat))
        column += repeat
    return runs


def representable(family: Family, units: Units) -> list[Family]:
    """Cut a family into runs of units whose positions can be written as ranges on every axis."""
    if all(layout(places) is not None for places in places_of(family.units, units).values()):
        return [family]
    pieces: list[Family] = []
    start = 0
    while start < len(family.units):
        end = start + 2
        if _regular(family.units[start:end], units):
            while end < len(family.units) and _regular(family.units[start : end + 1], units):
                end += 1
            if family.blocks == 1:
                pieces.append(Family(family.units[start:end]))
        else:
            end = start + 1
        start = end
    return pieces


def _regular(part: tuple[int, ...], units: Units) -> bool:
    return len(part) > 1 and all(layout(places) is not None for places in places_of(part, units).values())


def places_of(part: tuple[int, ...], units: Units) -> dict[int, Integers]:
    """Return the positions of units on each axis that holds them, ``(units, positions per unit)``."""
    return {axis: np.stack([units.members[unit][axis] for unit in part]) for axis in units.members[part[0]]}
