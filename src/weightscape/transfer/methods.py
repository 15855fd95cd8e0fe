"""How each method finds the permutation of a step (arXiv 2305.14122, algorithm 1 and sections 3.3, 4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from weightscape.seeds import derive
from weightscape.symmetry.costs import PairCosts
from weightscape.symmetry.groups import Symmetry
from weightscape.symmetry.matching import match_pairs
from weightscape.symmetry.permutation import Permutation
from weightscape.transfer.clock import Clock
from weightscape.transfer.pairs import Pair, PairedGradients
from weightscape.transfer.settings import StartFrom
from weightscape.weights.algebra import Weights


@dataclass(frozen=True)
class Matching:
    """The permutation of one step and how it was found.

    Attributes:
        permutation: Acts on the source.
        objective: Sum over the matched pairs of ``<target, π source>``; missing where nothing was matched.
        objective_identity: The same for the identity.
        sweeps: Sweeps over the groups at this step.
        solves: Groups solved at this step.
        pair: The newest matched gradients, those of the point before this step.
    """

    permutation: Permutation
    objective: float = math.nan
    objective_identity: float = math.nan
    sweeps: int = 0
    solves: int = 0
    pair: Pair | None = None


class Matcher(Protocol):
    """A method."""

    def match(self, step: int, previous: Permutation) -> Matching:
        """Return the permutation of a step, which is called for 1, 2, ... in order.

        Args:
            step: Number of the step.
            previous: Permutation of the step before, the identity at first. The target's gradients are taken under it.
        """

    def replay(self, step: int, previous: Permutation) -> None:
        """Put the state where :meth:`match` would leave it, for a step whose permutation is known already."""


@dataclass(frozen=True)
class Solver:
    """Solves a matching problem from a seeded start.

    Attributes:
        symmetry: The permutation groups.
        seed: Seed of the pair; the order of the groups depends on it and on the step.
        start_from: Where the search begins at each step.
        clock: Where time is counted.
        check: Raises when the user asked to stop.
    """

    symmetry: Symmetry
    seed: int
    start_from: StartFrom
    clock: Clock
    check: Callable[[], None]

    def add(self, costs: PairCosts, target: Weights, source: Weights) -> None:
        """Add a pair to a matching problem."""
        with self.clock("cost"):
            costs.add(target, source)

    def solve(self, costs: PairCosts, step: int, previous: Permutation) -> Matching:
        """Return the match of all pairs."""
        self.check()
        start = previous if self.start_from == "previous" else None
        found = match_pairs(costs, start=start, seed=derive(self.seed, "match", step))
        self.clock.add("assignment", found.solver_seconds)
        self.clock.add("cost", found.cost_seconds)
        with self.clock("cost"):
            unmoved = costs.objective(self.symmetry.identity())
        return Matching(found.permutation, found.objective, unmoved, found.sweeps, found.solves)


class Naive:
    """Add the displacement as it is."""

    def match(self, step: int, previous: Permutation) -> Matching:
        """Return the identity."""
        return Matching(previous.symmetry.identity())

    def replay(self, step: int, previous: Permutation) -> None:
        """Do nothing: there is no state."""


class Oracle:
    """Match the displacement of the target's own training, which a transfer does not know; the best one could do.

    Args:
        solver: Solves the one matching problem.
        target: Displacement of the target's training.
        source: Displacement of the source's training.
    """

    def __init__(self, solver: Solver, target: Weights, source: Weights) -> None:
        self._solver = solver
        self._displacements = target, source
        self._found: Matching | None = None

    def match(self, step: int, previous: Permutation) -> Matching:
        """Return the one match; its work is counted at step 1."""
        if self._found is None:
            costs = PairCosts(self._solver.symmetry)
            self._solver.add(costs, *self._displacements)
            self._found = self._solver.solve(costs, 1, previous.symmetry.identity())
        return self._found if step == 1 else replace(self._found, sweeps=0, solves=0)

    def replay(self, step: int, previous: Permutation) -> None:
        """Do nothing: the match is found again when a step needs it."""


class GradientMatching:
    """Match the gradients at all points before the step.

    GMT computes the target's gradients anew at every step, under the newest permutation. FGMT keeps those of earlier
    steps, as they were computed under the permutations of their time, and adds one pair per step. At step 1 the two
    are the same problem.

    Args:
        method: ``gmt`` or ``fgmt``.
        solver: Solves the matching problems.
        gradients: Gradients of both sides.
    """

    def __init__(self, method: Literal["gmt", "fgmt"], solver: Solver, gradients: PairedGradients) -> None:
        self._method = method
        self._solver = solver
        self._gradients = gradients
        self._costs = PairCosts(solver.symmetry)

    def match(self, step: int, previous: Permutation) -> Matching:
        """Return the match of all pairs up to the step."""
        if self._method == "gmt":
            self._costs = PairCosts(self._solver.symmetry)
        path = self._gradients.target.permuted(previous)
        for point in range(len(self._costs), step):
            target, source = self._gradients.at_target(path, point), self._gradients.at_source(point)
            self._solver.add(self._costs, target, source)
        return replace(self._solver.solve(self._costs, step, previous), pair=Pair(target, source))

    def replay(self, step: int, previous: Permutation) -> None:
        """Match again for FGMT, whose costs remember how they were used; GMT begins every step from nothing."""
        if self._method == "fgmt":
            self.match(step, previous)
