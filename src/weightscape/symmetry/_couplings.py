"""Pairs of weights shared by several groups, and the costs they give to each, kept up to date.

What a coupled piece adds to the cost of one group depends on the permutations of the others. Three facts make it cheap:

- all pairs are stacked along one axis, so that matrix products do not become smaller as pairs become more;
- the costs at the identity, where matching usually starts, and at the last match, near which the next one usually ends,
  grow with each added pair;
- when another group changed few of its units, only the products of these units are exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from weightscape.symmetry._pieces import Piece
from weightscape.weights.algebra import precise_dtype

_EXCHANGED_SHARE = 0.6  # above it, the differences of an exchange cost more than a new product saves
_EXCHANGED_TOTAL = 2.0  # rounding stays that of three products: then a new one is made
_LONG_RUN = 32  # entries per unit and pair of axes from which products of strided views beat copies on a CPU


@dataclass
class _Cost:
    """A cost matrix and the permutations of the other groups at which it holds."""

    value: Tensor  # (n, n)
    others: tuple[Tensor, ...]
    exchanged: float = 0.0

    def distance(self, others: tuple[Tensor, ...]) -> float:
        """Return the share of units at which the other groups differ; 1 when more than one group is involved."""
        if len(others) == 1:
            return float((self.others[0] != others[0]).double().mean())
        return 0.0 if all(map(torch.equal, self.others, others)) else 1.0


class Coupling:
    """All pairs of one piece with at least two group axes.

    Pairs are kept in stacks whose sizes are powers of two: two stacks of one size are merged, so that M pairs lie in at
    most log2(M) + 1 stacks without unused memory, and each pair is copied at most log2(M) times.
    """

    def __init__(self, piece: Piece, sizes: tuple[int, ...]) -> None:
        self.piece = piece
        self.sizes = sizes
        self._stacks: list[tuple[Tensor, Tensor]] = []
        self._start: list[_Cost] = []
        self._settled: list[_Cost] = []
        self._last: list[_Cost] = []

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of the axes."""
        return self.piece.groups

    def add(self, target: Tensor, source: Tensor) -> None:
        """Append one pair of extracted pieces."""
        # contiguous() alone would keep a view of the caller's storage, which may change later.
        pair = (target.unsqueeze(-2).clone(), source.unsqueeze(-2).clone())
        axes = range(len(self.groups))
        if not self._start:
            identity = [torch.arange(size) for size in self.sizes]
            others = [tuple(identity[other] for other in axes if other != axis) for axis in axes]
            zero = [target.new_zeros(self.sizes[axis], self.sizes[axis]) for axis in axes]
            self._start = [_Cost(zero[axis], others[axis]) for axis in axes]
            self._settled, self._last = list(self._start), list(self._start)
        for axis in axes:
            for cost in self._kept(axis):
                self._add_products(cost.value, pair, axis, cost.others)
        self._stacks.append(pair)
        while len(self._stacks) > 1 and self._stacks[-2][0].shape == self._stacks[-1][0].shape:
            (one, two), (three, four) = self._stacks.pop(-2), self._stacks.pop()
            self._stacks.append((torch.cat([one, three], dim=-2), torch.cat([two, four], dim=-2)))

    def cost(self, axis: int, indices: Mapping[str, Tensor]) -> Tensor:
        """Return the cost ``(n, n)`` of the group on one axis with the other axes permuted. Not to be written to."""
        others = tuple(indices[name] for position, name in enumerate(self.groups) if position != axis)
        nearest = min(self._kept(axis), key=lambda cost: cost.distance(others))
        share = nearest.distance(others)
        if share == 0:
            self._last[axis] = nearest
        elif share > _EXCHANGED_SHARE or nearest.exchanged + share > _EXCHANGED_TOTAL or self.piece.blocks > 1:
            value = torch.zeros_like(nearest.value)
            for stack in self._stacks:
                self._add_products(value, stack, axis, others)
            self._last[axis] = _Cost(value, others)
        else:
            value = self._exchanged(nearest, axis, others[0])
            self._last[axis] = _Cost(value, others, nearest.exchanged + share)
        return self._last[axis].value

    def settle(self) -> None:
        """Keep the present costs, besides later ones, as a point near which the next match may come again."""
        self._settled = list(self._last)

    def _kept(self, axis: int) -> list[_Cost]:
        """Return the different costs at hand, the latest first."""
        costs = self._last[axis], self._settled[axis], self._start[axis]
        return list({id(cost): cost for cost in costs}.values())

    def value(self, indices: Mapping[str, Tensor]) -> float:
        """Return the sum over pairs of ``<target, permuted source>``, in one pass and without matrix products."""
        value = 0.0
        for target, source in self._stacks:
            axes = [indices[name].to(source.device) for name in self.groups]
            if self.piece.blocks > 1:
                moved = _permuted_blocks(source, axes[0], axes[1])
            else:
                moved = source
                for axis, index in enumerate(axes):
                    moved = moved.index_select(axis, index)
            value += total(target * moved)
        return value

    def block_costs(self, axis: int, block: int, inside: Tensor) -> Tensor:
        """Return costs of one target block of a grouped convolution against every source block.

        Args:
            axis: 0 for the cost of the rows, 1 for that of the inputs.
            block: The target block.
            inside: Order ``(B, m)`` of the m units of the other axis inside each source block.

        Returns:
            Costs ``(B, n, n)`` of the units on `axis`, inside the blocks.
        """
        costs: Tensor | int = 0
        for target, source in self._stacks:
            left = target[block].movedim(axis, 0).flatten(1)
            right = source.movedim(1 + axis, 1)
            order = inside.to(source.device)[:, None, :, None, None].expand(-1, right.shape[1], -1, *right.shape[3:])
            costs = costs + left @ right.gather(2, order).flatten(2).mT
        assert isinstance(costs, Tensor)
        return costs

    def _add_products(self, value: Tensor, stack: tuple[Tensor, Tensor], axis: int, others: tuple[Tensor, ...]) -> None:
        """Add to a cost what a stack of pairs gives with the other axes permuted."""
        target, source = stack
        if self.piece.blocks > 1:
            value += _block_product(target, source, axis, others[0].to(source.device))
        elif len(others) == 1 and _has_long_runs(target):
            for unit, origin in enumerate(others[0].tolist()):
                value.addmm_(_slice(target, 1 - axis, unit), _slice(source, 1 - axis, origin).mT)
        else:
            positions = [position for position in range(len(self.groups)) if position != axis]
            for position, index in zip(positions, others, strict=True):
                if not torch.equal(index, torch.arange(len(index))):
                    source = source.index_select(position, index.to(source.device))
            value.addmm_(_matrix(target, axis), _matrix(source, axis).mT)

    def _exchanged(self, cost: _Cost, axis: int, index: Tensor) -> Tensor:
        """Return a cost after another group changed a few units: their products are taken out and put in anew."""
        shared = cost is self._start[axis] or cost is self._settled[axis]
        value = cost.value.clone() if shared else cost.value
        changed = (index != cost.others[0]).nonzero()[:, 0]
        new, old = index[changed], cost.others[0][changed]
        for target, source in self._stacks:
            if _has_long_runs(target):
                for unit, one, two in zip(changed.tolist(), new.tolist(), old.tolist(), strict=True):
                    difference = _slice(source, 1 - axis, one) - _slice(source, 1 - axis, two)
                    value.addmm_(_slice(target, 1 - axis, unit), difference.mT)
            else:
                units, one_, two_ = (part.to(source.device) for part in (changed, new, old))
                differences = source.index_select(1 - axis, one_) - source.index_select(1 - axis, two_)
                value.addmm_(_matrix(target.index_select(1 - axis, units), axis), _matrix(differences, axis).mT)
        return value


def total(products: Tensor) -> float:
    """Return the sum of all entries, in float64 where the device has it."""
    return float(torch.sum(products, dtype=precise_dtype(products.device)))


def _has_long_runs(stack: Tensor) -> bool:
    return stack.device.type == "cpu" and stack.shape[-2] * stack.shape[-1] >= _LONG_RUN


def _slice(stack: Tensor, axis: int, unit: int) -> Tensor:
    """Return one unit of one axis as ``(n, pairs * rest)``: a view, as matrix products take it."""
    return stack.select(axis, unit).flatten(1)


def _matrix(stack: Tensor, axis: int) -> Tensor:
    """Return a stack as ``(n, everything else)``: for axis 0 without a copy, for axis 1 moving long runs."""
    return stack.movedim(axis, 0).flatten(1)


def _block_product(target: Tensor, source: Tensor, axis: int, other: Tensor) -> Tensor:
    """Return the cost of one axis of a grouped convolution, zero between blocks that the other axis keeps apart.

    Args:
        target: Stack ``(B, o, i, pairs, rest)``.
        source: Stack of the same shape.
        axis: 0 for the rows, 1 for the inputs.
        other: Permutation of the other axis.
    """
    blocks, size = target.shape[0], target.shape[1 + axis]
    moved = source.movedim(2 - axis, 1)
    length = moved.shape[1]
    moved = moved.flatten(0, 1).index_select(0, other).reshape(moved.shape)
    left = target.movedim(2 - axis, 1).movedim(2, 1).flatten(2)
    right = moved.movedim(2, 1).flatten(2)
    value = target.new_zeros(blocks, size, blocks, size)
    order = other.reshape(blocks, length)[:, 0] // length
    value[torch.arange(blocks, device=value.device), :, order] = left @ right.mT
    return value.reshape(blocks * size, blocks * size)


def _permuted_blocks(source: Tensor, rows: Tensor, inputs: Tensor) -> Tensor:
    blocks, _, width = source.shape[:3]
    moved = source.flatten(0, 1).index_select(0, rows).reshape(source.shape)
    inside = (inputs % width).reshape(blocks, 1, width, *[1] * (source.ndim - 3))
    return moved.gather(2, inside.expand(moved.shape))
