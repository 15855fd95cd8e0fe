"""Prove numerically that permutations preserve the function of a network.

Both sides of ``f(x; π θ) = f(x; θ)`` are computed in float64, each group alone, at a *generic point*: random parameters
and random buffers. At a freshly initialised point a mistake can hide, since batch-norm scales are all 1 and biases 0;
at a generic point it almost surely cannot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import torch
from torch import Generator, Tensor, nn
from torch.utils import _pytree as pytree

from weightscape.batches import BatchSource, first_inputs
from weightscape.errors import SymmetryError
from weightscape.results import Result
from weightscape.seeds import stream
from weightscape.symmetry._diagnosis import explain
from weightscape.symmetry._generic import double_copy, load, random_inputs, randomise
from weightscape.symmetry._tracing import place_inputs
from weightscape.symmetry.groups import Axis, Group, Symmetry
from weightscape.symmetry.permutation import Permutation
from weightscape.weights.algebra import weights_of

if TYPE_CHECKING:
    from weightscape.results import Table

TOLERANCE = 1e-9
Inputs: TypeAlias = Tensor | tuple[Tensor, ...] | BatchSource
"""Inputs of a network, or batches, of which the first one's inputs are taken."""


@dataclass(frozen=True)
class Verification(Result):
    """Evidence that a symmetry or a permutation holds.

    Attributes:
        groups: Number of groups proved.
        largest_error: Largest change of the outputs, relative to their norm.
        smallest_effect: Smallest change of the outputs, over groups of several axes, when a group moves its first axis
            alone; far above `largest_error` where the proof has power. NaN without such groups.
        tolerance: Largest error that would have been accepted.
        checks: One row per check: point, group, error, effect.
    """

    groups: int
    largest_error: float
    smallest_effect: float
    tolerance: float
    checks: Table


def verify_symmetry(
    model: nn.Module,
    symmetry: Symmetry,
    example: Inputs | None = None,
    *,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> Verification:
    """Prove each group of a symmetry alone, at a generic point.

    Args:
        model: The network; it is not changed.
        symmetry: The groups, discovered or declared by hand.
        example: Inputs, or batches whose first one is taken; random inputs of the traced shape by default.
        seed: Seed of the generic point and of the permutations.
        tolerance: Largest allowed change of the outputs, relative to their norm.

    Raises:
        SymmetryError: If a group changes the outputs, naming the group and the tensor and axis to look at first; or if
            the network is not a deterministic function of its inputs.
    """
    generator = stream(seed, "proof")
    scene = _Scene(double_copy(model), symmetry, example, generator)
    randomise(scene.model, generator)
    scene.settle()
    rows = [_check_group(scene, group, generator, tolerance) for group in symmetry.groups]
    return _evidence([{"point": "generic", **row} for row in rows], len(symmetry.groups), tolerance)


def verify_permutation(
    model: nn.Module,
    permutation: Permutation,
    inputs: Inputs | None = None,
    *,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> Verification:
    """Prove that one permutation preserves a model's function, at its own weights and at a generic point.

    Raises:
        SymmetryError: If it does not, naming the first group at fault and the tensor and axis to look at first.
    """
    generator = stream(seed, "proof")
    scene = _Scene(double_copy(model), permutation.symmetry, inputs, generator)
    rows: list[dict[str, object]] = []
    for point in ("own weights", "generic"):
        if point == "generic":
            randomise(scene.model, generator)
        scene.settle()
        error = scene.change(permutation)
        if not error <= tolerance:
            _blame(scene, permutation, error, tolerance)
        rows.append({"point": point, "group": "all", "error": error, "effect": math.nan})
    return _evidence(rows, len(permutation.indices), tolerance)


class _Scene:
    """A private float64 copy of the network, its inputs, and its outputs at the current point."""

    def __init__(self, model: nn.Module, symmetry: Symmetry, example: Inputs | None, generator: Generator) -> None:
        self.model = model
        self.symmetry = symmetry
        given = None if example is None else _inputs(model, example)
        if given is None and not symmetry.inputs:
            raise SymmetryError(
                "This symmetry does not record the shape of the network's inputs, so none can be drawn. Give inputs."
            )
        self.inputs = random_inputs(model, symmetry.inputs, generator) if given is None else place_inputs(model, given)

    def settle(self) -> None:
        """Take the model's present weights as the reference point.

        Raises:
            SymmetryError: If the outputs there are not finite or change from call to call.
        """
        self.weights = weights_of(self.model)
        self.reference = self.outputs()
        if not bool(torch.isfinite(self.reference).all()):
            raise SymmetryError("The network's outputs are not finite at the point of the proof. Give other inputs.")
        if not torch.equal(self.reference, self.outputs()):
            raise SymmetryError(
                "Two calls of the network on the same inputs gave different outputs in evaluation mode, so equality "
                "cannot be proved. Make forward deterministic in evaluation mode."
            )

    def outputs(self) -> Tensor:
        """Return all outputs as one vector."""
        with torch.no_grad():
            leaves = [leaf for leaf in pytree.tree_leaves(self.model(*self.inputs)) if isinstance(leaf, Tensor)]
        return torch.cat([leaf.double().reshape(-1) for leaf in leaves])

    def change(self, permutation: Permutation) -> float:
        """Return how much a permutation of the weights changes the outputs, relative to their norm."""
        load(self.model, permutation.apply(self.weights))
        changed = self.outputs()
        load(self.model, self.weights)
        return float((changed - self.reference).norm() / self.reference.norm().clamp_min(1e-300))


def _inputs(model: nn.Module, given: Inputs) -> tuple[Tensor, ...]:
    if isinstance(given, Tensor):
        return (given,)
    if isinstance(given, tuple) and all(isinstance(one, Tensor) for one in given):
        return given
    return first_inputs(model, given)


def _check_group(scene: _Scene, group: Group, generator: Generator, tolerance: float) -> dict[str, object]:
    permutation = _alone(scene.symmetry, group, generator)
    first = _first_axes(scene.model, group)
    error = scene.change(permutation)
    if not error <= tolerance:
        _fail(scene, group, permutation, error, tolerance)
    effect = scene.change(_only(permutation, group, first)) if len(first) < len(group.axes) else math.nan
    return {"group": group.name, "error": error, "effect": effect}


def _alone(symmetry: Symmetry, group: Group, generator: Generator) -> Permutation:
    """Draw a permutation that moves one group, and the groups linked to it, and nothing else."""
    still = torch.arange(group.size)
    while True:
        drawn = symmetry.random(generator)
        if group.size < 2 or not torch.equal(drawn[group.name], still):
            return Permutation(symmetry, {name: drawn[name] for name in (group.name, *group.linked)})


def _first_axes(model: nn.Module, group: Group) -> tuple[Axis, ...]:
    """Return the first axis of a group, under all names of its tensor."""
    tensors = model.state_dict(keep_vars=True)
    first = group.axes[0]
    return tuple(
        axis for axis in group.axes if tensors[axis.tensor] is tensors[first.tensor] and axis.axis == first.axis
    )


def _only(permutation: Permutation, group: Group, axes: tuple[Axis, ...]) -> Permutation:
    """Return the permutation with one group acting on some of its axes alone."""
    partial = Group(group.name, group.size, axes, group.blocks)
    return Permutation(Symmetry((partial,)), {group.name: permutation[group.name]})


def _blame(scene: _Scene, permutation: Permutation, error: float, tolerance: float) -> NoReturn:
    """Find the group at fault.

    Raises:
        SymmetryError: In any case.
    """
    for group in permutation.symmetry.groups:
        alone = Permutation(permutation.symmetry, {name: permutation[name] for name in (group.name, *group.linked)})
        change = scene.change(alone)
        if not change <= tolerance:
            _fail(scene, group, alone, change, tolerance)
    raise SymmetryError(
        f"The permutation changes the network's outputs by {error:.2g} (relative; at most {tolerance:.0e} is allowed), "
        "though none of its groups does so alone. Discover the symmetry anew."
    )


def _fail(scene: _Scene, group: Group, permutation: Permutation, error: float, tolerance: float) -> NoReturn:
    def holds(candidate: Permutation) -> bool:
        return scene.change(candidate) <= tolerance

    advice = explain(scene.model, scene.inputs, scene.weights, group, permutation, holds)
    raise SymmetryError(
        f"The group {group.name!r} changes the network's outputs by {error:.2g} (relative; at most {tolerance:.0e} is "
        f"allowed). {advice}"
    )


def _evidence(rows: list[dict[str, object]], groups: int, tolerance: float) -> Verification:
    import pandas

    checks = pandas.DataFrame(rows, columns=["point", "group", "error", "effect"])
    error = float(checks["error"].max()) if len(checks) else 0.0
    return Verification(groups, error, float(checks["effect"].astype(float).min()), tolerance, checks)
