"""Pairs of gradients: source and target at matching points, on the same batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from weightscape.symmetry.permutation import Permutation
from weightscape.training.gradients import GradientOracle
from weightscape.transfer.batches import BatchStream
from weightscape.transfer.clock import Clock
from weightscape.transfer.paths import MovedPath
from weightscape.weights.algebra import Weights, dot, norm


class Pair:
    """A gradient of the target and one of the source."""

    def __init__(self, target: Weights, source: Weights) -> None:
        self.target = target
        self.source = source
        self._scale = norm(target) * norm(source)

    def cosine(self, permutation: Permutation) -> float:
        """Return the cosine between the target's gradient and the permuted source's; 0 when one of them is zero."""
        return dot(self.target, permutation.apply(self.source)) / self._scale if self._scale else 0.0


@dataclass
class PairedGradients:
    """Gradients along both trajectories; before each, the user may stop the run.

    A source's gradient does not depend on the permutation, and neither does the target's at its initialisation. Both
    are computed once where they are needed again (GMT). This takes one gradient of memory per step.

    Attributes:
        oracle: Computes gradients.
        batches: The batches of the pair.
        source: The source's own path.
        target: The path from the target's initialisation, not permuted.
        count: Batches per gradient.
        clock: Where time is counted.
        check: Raises when the user asked to stop.
        keep: Whether gradients are kept for later steps.
    """

    oracle: GradientOracle
    batches: BatchStream
    source: MovedPath
    target: MovedPath
    count: int
    clock: Clock
    check: Callable[[], None]
    keep: bool
    _kept: dict[tuple[str, int], Weights] = field(default_factory=dict)

    def at_source(self, step: int) -> Weights:
        """Return the gradient at a point of the source."""
        return self._once("source", step, lambda: self._gradient(self.source, step))

    def at_target(self, path: MovedPath, step: int) -> Weights:
        """Return the gradient at a point of the target's path."""
        if step == 0:
            return self._once("target", step, lambda: self._gradient(path, step))
        return self._gradient(path, step)

    def heldout(self, permutation: Permutation, step: int, count: int) -> Pair:
        """Return the gradients at a point on batches other than those that are matched."""
        self.check()
        points = self.target.permuted(permutation).at(step), self.source.at(step)
        target, source = (self.oracle.gradient(weights, self.batches.heldout(step, count)) for weights in points)
        return Pair(target, source)

    def _gradient(self, path: MovedPath, step: int) -> Weights:
        self.check()
        weights, batches = path.at(step), self.batches.matching(step, self.count)
        with self.clock("gradient"):
            return self.oracle.gradient(weights, batches)

    def _once(self, side: str, step: int, compute: Callable[[], Weights]) -> Weights:
        key = (side, step)
        if key in self._kept:
            return self._kept[key]
        gradient = compute()
        if self.keep:
            self._kept[key] = gradient
        return gradient
