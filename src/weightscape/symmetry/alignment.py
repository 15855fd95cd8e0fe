"""Bring the units of one network into the order of another, in one call."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from torch import Tensor, nn

from weightscape.batches import Batches, BatchSource, Forward, as_batches
from weightscape.errors import SymmetryError
from weightscape.results import Result
from weightscape.symmetry.activations import match_activations
from weightscape.symmetry.discovery import discover
from weightscape.symmetry.examples import example_inputs
from weightscape.symmetry.groups import Symmetry
from weightscape.symmetry.matching import MatchResult, match_weights
from weightscape.symmetry.permutation import Permutation
from weightscape.weights.algebra import Weights, cosine, select
from weightscape.weights.pairs import Network, Pair, as_pair

if TYPE_CHECKING:
    from weightscape.results import Table
    from weightscape.symmetry.verification import Verification

Method: TypeAlias = Literal["weights", "activations"]


@dataclass(frozen=True, repr=False)
class Alignment(Result):
    """The permutation of the first network's units that brings it close to the second, and the evidence.

    Attributes:
        permutation: Acts on the first network: ``π a`` is near `b`.
        groups: One row per permutation group: ``group``, ``size``, ``moved`` (share of its units), and the cosine
            between the tensors that the group touches, ``cosine_before`` and ``cosine``, with the ``gain``.
        method: What was compared.
        cosine: Cosine of all parameters of ``π a`` and `b`.
        cosine_before: The same without the permutation.
        moved: Share of all units that move.
        converged: Whether no single group could gain any more.
        fixed: Number of tensor axes that no group reorders.
    """

    permutation: Permutation
    groups: Table
    method: str
    cosine: float
    cosine_before: float
    moved: float
    converged: bool
    fixed: int

    def __repr__(self) -> str:
        groups = "1 group" if len(self.groups) == 1 else f"{len(self.groups)} groups"
        return (
            f"Alignment of {groups} by {self.method}: {self.moved:.1%} of the units moved, "
            f"cosine of the parameters {self.cosine_before:.3f} -> {self.cosine:.3f}"
        )

    def verify(
        self, model: nn.Module, inputs: Tensor | tuple[Tensor, ...] | None = None, *, tolerance: float = 1e-9
    ) -> Verification:
        """Prove that the permutation preserves the model's function; see :meth:`Permutation.verify`.

        Args:
            model: The network whose units are permuted; it is not changed.
            inputs: Inputs to compare outputs on; random ones by default.
            tolerance: Largest allowed difference, relative to the norm of the outputs, in float64.

        Raises:
            SymmetryError: Naming the group, tensor and axis, if the outputs differ.
        """
        return self.permutation.verify(model, inputs, tolerance=tolerance)

    def apply(self, weights: Mapping[str, Tensor]) -> Weights:
        """Return the permuted weights, parameters and buffers alike."""
        return self.permutation.apply(weights)

    def aligned(self, model: nn.Module) -> nn.Module:
        """Return a copy of a network with its units in the new order; it computes the same function."""
        duplicate = copy.deepcopy(model)
        duplicate.load_state_dict(self.permutation.apply(model.state_dict()))
        return duplicate

    def to_frame(self) -> Table:
        """Return one row per group."""
        return self.groups


def match(
    a: Network,
    b: Network,
    batches: BatchSource | None = None,
    *,
    model: nn.Module | None = None,
    example: Tensor | tuple[Tensor, ...] | None = None,
    method: Method = "weights",
    forward: Forward | None = None,
    symmetry: Symmetry | None = None,
    seed: int = 0,
) -> Alignment:
    """Find the permutation π of the units of `a` for which ``π a`` is closest to `b`.

    The first network is the one that moves, as in :func:`~weightscape.symmetry.matching.match_weights`; `b` stays.
    (Git Re-Basin, arXiv 2209.04836, permutes the second; swap the arguments to do as it does.) The permutation groups
    are discovered from the network.

    Args:
        a: The network whose units are permuted: a module or its weights. It is not changed.
        b: A network of the same architecture.
        batches: Batches with inputs in any form (:func:`weightscape.as_batches`): what ``activations`` compares on.
            Training images, to keep the alignment apart from what is tested later.
        model: The module, when both networks are given as weights.
        example: Input for tracing, a batch of two or more; from `batches` or from the network's layers by default.
        method: Compare weights (arXiv 2209.04836, section 3.2) or responses to `batches` (its section 3.1).
        forward: ``forward(model, batch)`` runs a network on a batch; by default it is called with the inputs.
        symmetry: The permutation groups, if they are known already.
        seed: Shuffles the order in which weight matching visits the groups.

    Returns:
        The alignment: ``.permutation``, ``.verify(a)``, ``.apply(weights)``, ``.aligned(a)`` and what each group did.

    Raises:
        SymmetryError: If the network cannot be traced, no example input is known, or `activations` has no batches.
        ModelError: If the two are of different architectures.
    """
    pair = as_pair(a, b, model)
    if method not in {"weights", "activations"}:
        raise SymmetryError(f"Expected the method 'weights' or 'activations', received {method!r}.")
    if method == "activations" and batches is None:
        raise SymmetryError("Matching by activations compares responses to inputs: give batches of training data.")
    if batches is not None:
        batches = as_batches(batches, passes="many", forward=forward)
    if symmetry is None:
        symmetry = discover(pair.model, example_inputs(pair.model, batches) if example is None else example)
    found = _found(pair, symmetry, batches, method, seed)
    return summarise(pair, found, method)


def _found(pair: Pair, symmetry: Symmetry, batches: Batches | None, method: Method, seed: int) -> MatchResult:
    if method == "weights":
        return match_weights(symmetry, pair.first, pair.second, parameters=_parameters(pair), seed=seed)
    source, target = copy.deepcopy(pair.model), copy.deepcopy(pair.model)
    source.load_state_dict(pair.first)
    target.load_state_dict(pair.second)
    return match_activations(symmetry, source, target, batches or ())


def summarise(pair: Pair, found: MatchResult, method: Method) -> Alignment:
    """Return what a match did to each group and to the whole."""
    import pandas

    permutation, names = found.permutation, _parameters(pair)
    sides = select(pair.first, names), select(permutation.apply(pair.first), names), select(pair.second, names)
    rows = []
    for group in permutation.symmetry.groups:
        touched = [axis.tensor for axis in group.axes if axis.tensor in sides[0]]
        before, after = _cosines(sides, touched)
        index = permutation[group.name].tolist()
        moved = sum(unit != source for unit, source in enumerate(index)) / max(len(index), 1)
        row = {"group": group.name, "size": group.size, "moved": moved, "cosine_before": before, "cosine": after}
        rows.append(row | {"gain": after - before})
    before, after = _cosines(sides, names)
    columns = ["group", "size", "moved", "cosine_before", "cosine", "gain"]
    groups = pandas.DataFrame(rows, columns=columns)
    fixed = len(permutation.symmetry.fixed)
    return Alignment(permutation, groups, method, after, before, found.moved, found.converged, fixed)


def _cosines(sides: tuple[Weights, Weights, Weights], names: list[str]) -> tuple[float, float]:
    """Return the cosines of the source and of the permuted source with the target, over the named tensors."""
    source, permuted, target = (select(side, dict.fromkeys(names)) for side in sides)
    return cosine(source, target), cosine(permuted, target)


def _parameters(pair: Pair) -> list[str]:
    """Return the names of the floating-point parameters, tied ones under all their names."""
    named = pair.model.named_parameters(remove_duplicate=False)
    return [name for name, parameter in named if parameter.is_floating_point()]
