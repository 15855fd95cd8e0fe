"""From step to step: find the permutation, make the point, gather the evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from weightscape.seeds import stream
from weightscape.symmetry.groups import Symmetry
from weightscape.symmetry.permutation import Permutation
from weightscape.transfer.clock import Clock
from weightscape.transfer.evaluation import Evaluator
from weightscape.transfer.methods import Matcher, Matching
from weightscape.transfer.pairs import PairedGradients
from weightscape.transfer.paths import Source
from weightscape.transfer.records import StepRecord, StepRecords
from weightscape.transfer.schedule import Point
from weightscape.transfer.settings import Settings
from weightscape.weights.algebra import Weights

OnStep: TypeAlias = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Walk:
    """The steps of one transfer.

    Attributes:
        settings: The choices.
        points: The points of the trajectory.
        source: The trajectory that is transferred.
        target: Parameters and buffers of the target's initialisation.
        symmetry: The permutation groups.
        matcher: The method.
        gradients: Gradients along both trajectories.
        evaluator: Measures accuracies.
        clock: Where time is counted.
    """

    settings: Settings
    points: tuple[Point, ...]
    source: Source
    target: Weights
    symmetry: Symmetry
    matcher: Matcher
    gradients: PairedGradients
    evaluator: Evaluator
    clock: Clock

    def run(self, records: StepRecords, on_step: OnStep | None = None) -> list[StepRecord]:
        """Take all steps, from the last one on disk on."""
        done = records.load()[: len(self.points)]
        if len(done) < len(self.points):
            for step in range(1, len(done)):
                self.matcher.replay(step, done[step - 1].permutation)
        for step in range(len(done), len(self.points)):
            record = self.take(step, done[-1].permutation) if done else self.begin()
            records.save(record)
            done.append(record)
            if on_step is not None:
                on_step(step, len(self.points) - 1, record.row)
        return done

    def begin(self) -> StepRecord:
        """Return step 0: the target's initialisation."""
        return self._record(0, Matching(self.symmetry.identity()), {"changed": 0.0})

    def take(self, step: int, previous: Permutation) -> StepRecord:
        """Return a step after another one, whose permutation is given."""
        matching = self.matcher.match(step, previous)
        with self.clock("evaluation"):
            evidence = {"changed": matching.permutation.moved(since=previous)}
            if matching.pair is not None:
                evidence["cosine_matching"] = matching.pair.cosine(matching.permutation)
            if self.settings.heldout_batches:
                evidence |= self._heldout(step, previous, matching.permutation)
        return self._record(step, matching, evidence)

    def weights(self, step: int, permutation: Permutation) -> Weights:
        """Return a transferred point: moved parameters, and the target's own buffers."""
        return {**self.target, **self.gradients.target.permuted(permutation).at(step)}

    def _heldout(self, step: int, previous: Permutation, permutation: Permutation) -> dict[str, float]:
        """Return cosines of the gradients before the step, on batches other than those that are matched."""
        pair = self.gradients.heldout(previous, step - 1, self.settings.heldout_batches)
        null = self.symmetry.random(stream(self.settings.seed, "match", "null", step))
        return {
            "cosine_heldout": pair.cosine(permutation),
            "cosine_identity": pair.cosine(self.symmetry.identity()),
            "cosine_null": pair.cosine(null),
        }

    def _record(self, step: int, matching: Matching, evidence: Mapping[str, float]) -> StepRecord:
        row = {"step": step, "fraction": self.points[step].fraction, **evidence}
        row |= {"objective": matching.objective, "objective_identity": matching.objective_identity}
        row |= {"moved": matching.permutation.moved(), "sweeps": matching.sweeps, "solves": matching.solves}
        with self.clock("evaluation"):
            row |= self.evaluator.accuracies(self.weights(step, matching.permutation))
            row |= self._control(step)
        return StepRecord(matching.permutation, row, self.clock.read())

    def _control(self, step: int) -> dict[str, float]:
        """Return the accuracy of the source point itself, which no permutation changes."""
        if self.settings.control == "none":
            return {}
        point = {**self.source.weights(self.points[step].anchor), **self.gradients.source.at(step)}
        found = self.evaluator.accuracies(point)
        return {f"permuted_source_{split}_accuracy": found[f"{split}_accuracy"] for split in ("validation", "test")}
