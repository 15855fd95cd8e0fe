"""Assignments for groups that move whole blocks of units, alone or in step with others.

For every pair of a target block and a source block, the best order inside is an assignment of its own; which block goes
where is an outer assignment over the values that these reach. Groups linked to one another share the outer assignment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from weightscape.symmetry._couplings import Coupling
from weightscape.symmetry.assignment import solve_assignment
from weightscape.symmetry.groups import Group

_ROUNDS = 4  # alternations of linked groups that meet in a grouped convolution; each can only gain


def solve_blocks(
    groups: Sequence[Group],
    costs: Mapping[str, Tensor],
    start: Mapping[str, Tensor],
    couplings: Sequence[Coupling] = (),
) -> dict[str, Tensor]:
    """Return allowed permutations of linked groups with a total no lower than at the start.

    Optimal without `couplings`. With them the orders inside two groups depend on each other and are improved in turn.

    Args:
        groups: Groups with equal numbers of blocks that move their blocks alike.
        costs: Group name -> cost ``(n, n)`` without the couplings.
        start: Group name -> permutation to start from.
        couplings: Weights of grouped convolutions between two of the groups.
    """
    blocks = groups[0].blocks
    tiles = {group.name: _tiles(costs[group.name].to("cpu"), blocks) for group in groups}
    orders = {
        group.name: (start[group.name] % (group.size // blocks)).reshape(blocks, 1, -1).repeat(1, blocks, 1)
        for group in groups
    }
    values = torch.zeros(blocks, blocks, dtype=torch.float64)
    for _ in range(_ROUNDS if couplings else 1):
        for group in groups:
            cost = tiles[group.name] + _coupled(group.name, couplings, orders)
            orders[group.name] = _inner(cost, orders[group.name])
        before, values = values, _values(groups, tiles, couplings, orders)
        if torch.equal(before, values):
            break
    outer = solve_assignment(values)
    rows = torch.arange(blocks)
    return {
        group.name: (outer[:, None] * (group.size // blocks) + orders[group.name][rows, outer]).reshape(-1)
        for group in groups
    }


def _tiles(cost: Tensor, blocks: int) -> Tensor:
    """Return a cost ``(n, n)`` as ``(target block, source block, unit, unit)``."""
    length = cost.shape[0] // blocks
    return cost.reshape(blocks, length, blocks, length).transpose(1, 2)


def _coupled(name: str, couplings: Sequence[Coupling], orders: Mapping[str, Tensor]) -> Tensor | float:
    """Return what the couplings add to the tiles of a group while the groups across keep their orders."""
    total: Tensor | float = 0.0
    for coupling in couplings:
        if name in coupling.groups:
            axis = coupling.groups.index(name)
            other = orders[coupling.groups[1 - axis]]
            rows = [coupling.block_costs(axis, block, order).to("cpu") for block, order in enumerate(other)]
            total = total + torch.stack(rows)
    return total


def _inner(tiles: Tensor, orders: Tensor) -> Tensor:
    """Return the best order inside every pair of blocks, keeping the present one where it is as good."""
    if tiles.shape[-1] == 1:
        return orders
    found = torch.stack([torch.stack([solve_assignment(tile) for tile in row]) for row in tiles])
    better = _picked(tiles, found) > _picked(tiles, orders)
    return torch.where(better[..., None], found, orders)


def _values(
    groups: Sequence[Group], tiles: Mapping[str, Tensor], couplings: Sequence[Coupling], orders: Mapping[str, Tensor]
) -> Tensor:
    """Return the value ``(B, B)`` of sending each source block to each target block."""
    total = sum((_picked(tiles[group.name], orders[group.name]) for group in groups), torch.zeros(()))
    for coupling in couplings:
        first = coupling.groups[0]
        cost = _coupled(first, [coupling], orders)
        assert isinstance(cost, Tensor)
        total = total + _picked(cost, orders[first])
    return total


def _picked(tiles: Tensor, orders: Tensor) -> Tensor:
    return tiles.gather(-1, orders[..., None]).sum(dim=(-1, -2), dtype=torch.float64)
