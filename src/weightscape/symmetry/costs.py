"""The matching problem of many pairs of weights: inner products of every target unit with every source unit.

For pairs (target, source) of weights, gradients or displacements the objective of a permutation π is the sum over pairs
of ``<target, π source>``. As ``|π source|`` does not depend on π, its maximum is the least-squares match of Git
Re-Basin (arXiv 2209.04836) and of gradient matching (arXiv 2305.14122). With all groups but one held still, it is
linear in the one that is left: ``sum_i A[i, π[i]]``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from weightscape.errors import SymmetryError
from weightscape.symmetry._couplings import Coupling, total
from weightscape.symmetry._pieces import Piece, cut
from weightscape.symmetry.groups import Symmetry
from weightscape.symmetry.permutation import Permutation
from weightscape.weights.algebra import Weights, check_alike, precise_dtype


class PairCosts:
    """A growing set of pairs and the costs that matching needs from them.

    All floating-point tensors given count with equal weight; leave out what must not count (buffers). Tensors of one
    group need no memory per pair, only one ``(n, n)`` matrix; those shared by two groups are stored. Products are
    taken in the precision of the tensors (at least float32), totals in float64. Costs are cached between calls: two
    equal sequences of calls give equal bits.

    Args:
        symmetry: The permutation groups.
    """

    def __init__(self, symmetry: Symmetry) -> None:
        self.symmetry = symmetry
        self.target_energy = 0.0
        self.source_energy = 0.0
        self._count = 0
        self._shapes: dict[str, torch.Size] = {}
        self._energies: dict[str, tuple[float, float]] = {}
        self._constant = 0.0
        self._constants: list[Piece] = []
        self._linear_pieces: list[Piece] = []
        self._linear: dict[str, Tensor] = {}
        self._couplings: list[Coupling] = []

    def __len__(self) -> int:
        return self._count

    def add(self, target: Weights, source: Weights) -> None:
        """Add one pair; both have the same tensors, the same in every call.

        Args:
            target: Weights that stay where they are.
            source: Weights that the permutation acts on.

        Raises:
            SymmetryError: If a value is NaN or infinite (the tensor is named), if the tensors differ from those of the
                first pair, or if the symmetry does not fit them.
            ModelError: If `target` and `source` are of different architectures.
        """
        check_alike(target, source)
        target, source = _floating(target), _floating(source)
        shapes = {name: tensor.shape for name, tensor in target.items()}
        if self._count and shapes != self._shapes:
            changed = sorted(name for name, _ in shapes.items() ^ self._shapes.items())
            raise SymmetryError(
                f"Every pair has the same tensors, but these differ from the first pair: {changed[:5]}."
            )
        energies = _energies(target, source)
        for name, before in self._energies.items():
            energies[name] = (before[0] + energies[name][0], before[1] + energies[name][1])
        _check_range(energies, target)
        if not self._count:
            self._plan(shapes, target)
        self._energies = energies
        self.target_energy, self.source_energy = map(math.fsum, zip(*energies.values(), strict=True))
        for piece in self._constants:
            pair = piece.extract(target[piece.tensor]), piece.extract(source[piece.tensor])
            self._constant += total(pair[0] * pair[1])
        for piece in self._linear_pieces:
            cost = self._linear[piece.groups[0]]
            cost.addmm_(piece.extract(target[piece.tensor]), piece.extract(source[piece.tensor]).mT)
        for coupling in self._couplings:
            name = coupling.piece.tensor
            coupling.add(coupling.piece.extract(target[name]), coupling.piece.extract(source[name]))
        self._count += 1

    def group_cost(self, name: str, permutation: Permutation) -> Tensor:
        """Return ``A[i, j]``, the inner product of target slice i with source slice j, all other groups permuted.

        Where a group meets itself in one tensor, its other axis counts as another group, held at `permutation`.

        Args:
            name: The group.
            permutation: What the other groups are permuted by.

        Returns:
            Costs ``(size, size)``, in a tensor of their own.

        Raises:
            SymmetryError: If there is no such group, or no pair yet.
        """
        return self._cost(name, permutation.indices)

    def objective(self, permutation: Permutation) -> float:
        """Return the sum over pairs of ``<target, π source>``, over all tensors.

        Raises:
            SymmetryError: If there is no pair yet.
        """
        self._check_filled()
        indices = permutation.indices
        coupled = (_trace(coupling.cost(0, indices), indices[coupling.groups[0]]) for coupling in self._couplings)
        linear = (_trace(cost, indices[name]) for name, cost in self._linear.items())
        return math.fsum([self._constant, *linear, *coupled])

    def scale(self, name: str | None = None) -> float:
        """Return the largest value that the objective could have: the product of the norms of targets and sources.

        Args:
            name: Count the tensors of this group only; all tensors by default.
        """
        names = self._energies.keys() if name is None else {axis.tensor for axis in self.symmetry.group(name).axes}
        found = [self._energies[name] for name in names if name in self._energies]
        return math.sqrt(sum(one for one, _ in found)) * math.sqrt(sum(two for _, two in found))

    def neighbours(self, name: str) -> set[str]:
        """Return the groups whose cost depends on the permutation of this one; itself where it meets itself."""
        found: set[str] = set()
        for coupling in self._couplings:
            for axis, group in enumerate(coupling.groups):
                if group == name:
                    found.update(coupling.groups[:axis] + coupling.groups[axis + 1 :])
        return found

    def _cost(self, name: str, indices: Mapping[str, Tensor], without: Iterable[Coupling] = ()) -> Tensor:
        """Return the cost of one group, leaving out some of the couplings."""
        self._check_filled()
        size = self.symmetry.group(name).size
        skipped = {id(coupling) for coupling in without}
        parts = [self._linear[name]] if name in self._linear else []
        for coupling in self._couplings:
            if id(coupling) not in skipped:
                parts += [coupling.cost(axis, indices) for axis, group in enumerate(coupling.groups) if group == name]
        if not parts:
            return torch.zeros(size, size)
        cost = parts[0].clone()
        for part in parts[1:]:
            cost += part
        return cost

    def _settle(self) -> None:
        """Remember the costs at the end of a match, which the next one will probably need."""
        for coupling in self._couplings:
            coupling.settle()

    def _between(self, names: Iterable[str]) -> list[Coupling]:
        """Return the couplings that touch any of the groups."""
        wanted = set(names)
        return [coupling for coupling in self._couplings if wanted & set(coupling.groups)]

    def _value(self, names: Iterable[str], indices: Mapping[str, Tensor]) -> float:
        """Return the part of the objective that depends on some groups, computed anew."""
        wanted = set(names)
        linear = (_trace(self._linear[name], indices[name]) for name in wanted if name in self._linear)
        return math.fsum([*linear, *(coupling.value(indices) for coupling in self._between(wanted))])

    def _plan(self, shapes: dict[str, torch.Size], like: Weights) -> None:
        self._shapes = shapes
        sizes = {group.name: group.size for group in self.symmetry.groups}
        pieces = cut(self.symmetry, shapes)
        for piece in pieces:
            if len(piece.groups) > 1:
                self._couplings.append(Coupling(piece, tuple(sizes[group] for group in piece.groups)))
            elif piece.groups:
                size = sizes[piece.groups[0]]
                self._linear.setdefault(piece.groups[0], like[piece.tensor].new_zeros(size, size))
                self._linear_pieces.append(piece)
            else:
                self._constants.append(piece)

    def _check_filled(self) -> None:
        if not self._count:
            raise SymmetryError("There is nothing to match yet: add at least one pair of weights or gradients first.")


def _floating(weights: Weights) -> Weights:
    """Return the floating-point tensors, detached, in float32 or better."""
    precise = {torch.float32, torch.float64}
    return {
        name: tensor.detach() if tensor.dtype in precise else tensor.detach().float()
        for name, tensor in weights.items()
        if tensor.is_floating_point()
    }


def _energies(target: Weights, source: Weights) -> dict[str, tuple[float, float]]:
    """Return the squared norms by tensor, with one transfer from the device.

    Raises:
        SymmetryError: If a value is NaN or infinite.
    """
    if not target:
        raise SymmetryError("Expected at least one floating-point tensor to match, received none.")
    sides = [side[name] for name in target for side in (target, source)]
    norms = [torch.linalg.vector_norm(side, dtype=precise_dtype(side.device)) for side in sides]
    squares = (torch.stack(norms).to("cpu", torch.float64) ** 2).reshape(-1, 2).tolist()
    for name, pair in zip(target, squares, strict=True):
        for side, square in zip(("target", "source"), pair, strict=True):
            if not math.isfinite(square):
                raise SymmetryError(
                    f"The tensor {name!r} of the {side} holds NaN or infinite values, which cannot be matched: "
                    "look for the step at which training or the gradient overflowed."
                )
    return {name: (one, two) for name, (one, two) in zip(target, squares, strict=True)}


def _check_range(energies: dict[str, tuple[float, float]], like: Weights) -> None:
    """Check that no inner product can overflow, which follows from the norms.

    Raises:
        SymmetryError: Naming the tensor.
    """
    for name, (one, two) in energies.items():
        if math.sqrt(one) * math.sqrt(two) > torch.finfo(like[name].dtype).max:
            raise SymmetryError(
                f"The products of {name!r} reach {math.sqrt(one):.1e} * {math.sqrt(two):.1e}, more than "
                f"{like[name].dtype} holds: scale the weights or gradients down, or give them as float64."
            )


def _trace(cost: Tensor, index: Tensor) -> float:
    return total(cost.gather(1, index.to(cost.device)[:, None]))
