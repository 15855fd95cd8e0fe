"""Write families of units as groups of state-dict axes, name them, and say why the remaining axes stay fixed."""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

import numpy as np

from weightscape.symmetry._grouping import Family, layout, places_of, representable
from weightscape.symmetry._positions import Units
from weightscape.symmetry._reading import KERNEL
from weightscape.symmetry.groups import Axis, Fixed, Group

Slots: TypeAlias = dict[int, list[Axis]]
"""Per tracked axis the axes of state-dict tensors that it stands for; offset and repeat are not used."""

ALONE = "no other unit has the same connections"


def assemble_groups(families: list[Family], units: Units, slots: Slots, producers: list[int]) -> tuple[Group, ...]:
    """Return the groups of the families that sit in the weights, in the order of the layers that make their units."""
    rank = {axis: number for number, axis in reversed(list(enumerate(producers)))}
    tensor_order = {axis: number for number, axis in enumerate(slots)}

    def origin(family: Family) -> tuple[int, int, int, int]:
        """Return the place in the order of layers, and the axis and first position that name the family."""
        held = {axis: at for axis, at in units.members[family.units[0]].items() if axis in slots}
        return min((rank.get(axis, len(producers)), tensor_order[axis], axis, int(at[0])) for axis, at in held.items())

    usable = sorted(_usable(families, units, slots), key=origin)
    names = _names([(_layer(slots[origin(family)[2]][0]), origin(family)[3], len(family.units)) for family in usable])
    named = list(zip(names, usable, strict=True))
    return tuple(
        Group(name, len(family.units), _axes(family, units, slots), family.blocks, _linked(name, family, named))
        for name, family in named
    )


def _usable(families: list[Family], units: Units, slots: Slots) -> list[Family]:
    """Keep the families that sit in the weights, cut where they cannot be written as ranges."""
    held = [family for family in families if any(axis in slots for axis in units.members[family.units[0]])]
    cut = {family: representable(family, units) for family in held}
    broken = {family.link for family, pieces in cut.items() if family.blocks > 1 and pieces != [family]}
    return [
        piece for family, pieces in cut.items() if family.blocks == 1 or family.link not in broken for piece in pieces
    ]


def _layer(axis: Axis) -> str:
    path, _, parameter = axis.tensor.rpartition(".")
    return path.partition(".parametrizations")[0] or parameter


def _names(origins: list[tuple[str, int, int]]) -> list[str]:
    """Name each group after its layer, with the range of units where several groups come from one layer."""
    count = Counter(layer for layer, _, _ in origins)
    names: list[str] = []
    for layer, start, size in origins:
        name = layer if count[layer] == 1 else f"{layer}[{start}:{start + size}]"
        copies = sum(other == name or other.startswith(f"{name}#") for other in names)
        names.append(f"{name}#{copies + 1}" if copies else name)
    return names


def _linked(name: str, family: Family, named: list[tuple[str, Family]]) -> tuple[str, ...]:
    if family.blocks == 1:
        return ()
    return tuple(other for other, candidate in named if other != name and candidate.link == family.link)


def _axes(family: Family, units: Units, slots: Slots) -> tuple[Axis, ...]:
    axes: list[tuple[int, int, Axis]] = []
    order = {axis: number for number, axis in enumerate(slots)}
    for axis, places in places_of(family.units, units).items():
        for slot in slots.get(axis, []):
            runs = layout(places)
            assert runs is not None, slot
            axes += [
                (order[axis], offset, Axis(slot.tensor, slot.axis, offset, repeat, slot.grouped))
                for offset, repeat in runs
            ]
    return tuple(axis for _, _, axis in sorted(axes, key=lambda item: item[:2]))


def fixed_axes(groups: tuple[Group, ...], units: Units, slots: Slots) -> tuple[Fixed, ...]:
    """Return the positions of the weights that no group moves, with the reasons; kernel positions are left out."""
    moved: dict[tuple[str, int], list[np.ndarray[tuple[int], np.dtype[np.int64]]]] = {}
    for group in groups:
        for axis in group.axes:
            span = np.arange(axis.offset, axis.offset + group.size * axis.repeat)
            moved.setdefault((axis.tensor, axis.axis), []).append(span)
    fixed: list[Fixed] = []
    for tracked, listed in slots.items():
        owners = units.of_axis(tracked)
        for slot in listed:
            still = np.ones(len(owners), dtype=bool)
            for span in moved.get((slot.tensor, slot.axis), []):
                still[span] = False
            reasons = Counter(units.reasons[unit] or ALONE for unit in owners[still].tolist())
            if len(owners) > slot.grouped:
                fixed += [
                    Fixed(slot.tensor, slot.axis, count // slot.grouped or 1, reason)
                    for reason, count in reasons.items()
                    if reason != KERNEL
                ]
    return tuple(fixed)
