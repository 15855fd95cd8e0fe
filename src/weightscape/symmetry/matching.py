"""Match two networks by permuting the hidden units of one: weights, gradients, or any sum of such pairs.

Block coordinate descent (Git Re-Basin, arXiv 2209.04836, algorithm 1; of gradients: arXiv 2305.14122): one group at a
time is assigned optimally while the others stay, in a seeded random order, until no group gains. Three rules differ
from the published code: a gain counts *relative* to the norms of the group's tensors, because gradients are small; a
group is solved again only if a group that shares a tensor with it has moved since; and nothing that lowers the
objective is kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass

import torch

from weightscape.errors import SymmetryError
from weightscape.results import Result
from weightscape.seeds import stream
from weightscape.symmetry._descent import Descent
from weightscape.symmetry.costs import PairCosts
from weightscape.symmetry.groups import Symmetry
from weightscape.symmetry.permutation import Permutation
from weightscape.weights.algebra import Weights


@dataclass(frozen=True)
class MatchResult(Result):
    """A permutation of the source's units and the evidence for it.

    Attributes:
        permutation: Acts on the source.
        objective_before: Sum over pairs of ``<target, π source>`` at the start.
        objective: The same at the end.
        relative_gain: What was gained, as a share of the product of the norms of targets and sources.
        cosine: The objective over that product: 1 for an exact match, when there is one pair.
        squared_distance: Sum over pairs of ``|target - π source|²``: the published "matching loss", of the right side.
        pairs: Number of pairs matched.
        sweeps: Passes over the groups in which at least one was solved.
        solves: Groups solved, over all sweeps.
        moved: Share of all units that the permutation moves.
        converged: Whether no single group could gain any more.
        solver_seconds: Time in assignment problems.
        cost_seconds: Time in inner products.
    """

    permutation: Permutation
    objective_before: float
    objective: float
    relative_gain: float
    cosine: float
    squared_distance: float
    pairs: int
    sweeps: int
    solves: int
    moved: float
    converged: bool
    solver_seconds: float
    cost_seconds: float


def match_pairs(
    costs: PairCosts,
    *,
    start: Permutation | None = None,
    seed: int = 0,
    tolerance: float = 1e-7,
    max_sweeps: int = 100,
) -> MatchResult:
    """Find the permutation of the sources that brings all pairs together.

    A local optimum: no single group (or set of linked groups) can gain alone. Exact for one group.

    Args:
        costs: The pairs; left as they are.
        start: Permutation to start from; the identity by default. Left as it is.
        seed: Seed of the stream ``match``, which shuffles the groups in every sweep.
        tolerance: Smallest gain that counts, relative to the norms of the tensors of the group. Ties stay in place.
        max_sweeps: Passes at most.

    Raises:
        SymmetryError: If there are no pairs, `start` permutes other groups, or costs overflow.
    """
    started = time.perf_counter()
    start = costs.symmetry.identity() if start is None else start
    if start.symmetry.groups != costs.symmetry.groups:
        raise SymmetryError(
            f"The start permutes the groups {list(start.indices)}, the pairs have {list(costs.symmetry.names)}. "
            "Discover the symmetry once and use it for both."
        )
    before = costs.objective(start)
    search = Descent(costs, dict(start.indices), tolerance)
    generator = stream(seed, "match")
    sweeps = 0
    while search.waiting and sweeps < max_sweeps:
        sweeps += 1
        for number in torch.randperm(len(search.units), generator=generator).tolist():
            search.visit(number)
    permutation = start.replace(search.indices)
    after = costs.objective(permutation)
    costs._settle()
    scale = costs.scale()
    total_seconds = time.perf_counter() - started
    return MatchResult(
        permutation=permutation,
        objective_before=before,
        objective=after,
        relative_gain=(after - before) / scale if scale else 0.0,
        cosine=after / scale if scale else 0.0,
        squared_distance=max(0.0, math.fsum([costs.target_energy, costs.source_energy, -2 * after])),
        pairs=len(costs),
        sweeps=sweeps,
        solves=search.solves,
        moved=permutation.moved(),
        converged=not search.waiting,
        solver_seconds=search.solver_seconds,
        cost_seconds=total_seconds - search.solver_seconds,
    )


def match_weights(
    symmetry: Symmetry,
    source: Weights,
    target: Weights,
    *,
    parameters: Collection[str] | None = None,
    start: Permutation | None = None,
    seed: int = 0,
    tolerance: float = 1e-7,
    max_sweeps: int = 100,
) -> MatchResult:
    """Find the permutation of the source's units that brings its weights closest to the target's (arXiv 2209.04836).

    Args:
        symmetry: The permutation groups.
        source: Weights that the permutation acts on.
        target: Weights of the same architecture.
        parameters: Names of the tensors to compare; by default all but the running statistics of batch norms.
        start: See :func:`match_pairs`.
        seed: See :func:`match_pairs`.
        tolerance: See :func:`match_pairs`.
        max_sweeps: See :func:`match_pairs`.

    Raises:
        SymmetryError: If the weights do not fit the symmetry or are not finite, or a name in `parameters` is unknown.
        ModelError: If the two are of different architectures.
    """
    if parameters is None:
        parameters = [name for name in target if name.rpartition(".")[2] not in {"running_mean", "running_var"}]
    unknown = sorted(set(parameters) - (source.keys() & target.keys()))
    if unknown:
        raise SymmetryError(f"To compare are tensors of both networks, received unknown names: {unknown[:5]}.")
    costs = PairCosts(symmetry)
    costs.add({name: target[name] for name in parameters}, {name: source[name] for name in parameters})
    return match_pairs(costs, start=start, seed=seed, tolerance=tolerance, max_sweeps=max_sweeps)
