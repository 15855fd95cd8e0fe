"""Check what a transfer was asked for and put its parts together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from weightscape.errors import Interrupted, TrainingError
from weightscape.symmetry.discovery import discover
from weightscape.symmetry.groups import Symmetry
from weightscape.symmetry.verification import verify_symmetry
from weightscape.training.gradients import GradientOracle
from weightscape.transfer.batches import BatchStream
from weightscape.transfer.clock import Clock
from weightscape.transfer.evaluation import Evaluator
from weightscape.transfer.identity import transfer_identity
from weightscape.transfer.methods import GradientMatching, Matcher, Naive, Oracle, Solver
from weightscape.transfer.pairs import PairedGradients
from weightscape.transfer.paths import MovedPath, Source
from weightscape.transfer.schedule import Point, plan_points
from weightscape.transfer.settings import Settings
from weightscape.transfer.walk import Walk
from weightscape.weights.algebra import Weights, check_alike
from weightscape.weights.trajectory import Trajectory

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset


@dataclass(frozen=True)
class Job:
    """What a transfer was asked for."""

    settings: Settings
    source: Trajectory
    target: Weights
    target_trajectory: Trajectory | None
    model: nn.Module
    dataset: Dataset
    device: str
    should_stop: Callable[[], bool] | None

    def prepare(self, symmetry: Symmetry | None, *, hashed: bool) -> tuple[Walk, Mapping[str, Any]]:
        """Check everything, and return the walk and, where asked for, what identifies it."""
        check_alike(self.target, self.model.state_dict())
        check_alike(self.target, self.source.first)
        names = [name for name, _ in self.model.named_parameters(remove_duplicate=False)]
        source = Source(self.source, names, path=self.settings.trajectory, device=self.device)
        points = plan_points(source.stretches, self.settings.count_steps(source.stretches), self.settings.schedule)
        displacement = self._target_displacement(source)
        example = self.dataset.train.normalised(slice(2))
        symmetry = discover(self.model, example, compat=self.settings.compat) if symmetry is None else symmetry
        verify_symmetry(self.model, symmetry, None if symmetry.inputs else example)
        walk = self._walk(source, points, symmetry, displacement)
        if not hashed:
            return walk, {}
        return walk, transfer_identity(
            self.settings,
            model=self.model,
            dataset=self.dataset,
            source=source,
            target=self.target,
            displacement=displacement,
            symmetry=symmetry,
            device=self.device,
        )

    def _walk(
        self, source: Source, points: tuple[Point, ...], symmetry: Symmetry, displacement: Weights | None
    ) -> Walk:
        settings, clock = self.settings, Clock()
        batches = BatchStream(self.dataset, seed=settings.seed, batch_size=settings.batch_size)
        gradients = PairedGradients(
            oracle=GradientOracle(self.model, self.device),
            batches=batches,
            source=MovedPath(source, points, source.first),
            target=MovedPath(source, points, self.target),
            count=settings.batches,
            clock=clock,
            check=self._check,
            keep=settings.method == "gmt",
        )
        evaluator = Evaluator(
            self.model,
            self.dataset,
            policy=settings.batch_norm,
            batches=batches,
            batch_norm_batches=settings.batch_norm_batches,
            device=self.device,
        )
        solver = Solver(symmetry, settings.seed, settings.start_from, clock, self._check)
        matcher = self._matcher(source, solver, gradients, displacement)
        return Walk(settings, points, source, self.target, symmetry, matcher, gradients, evaluator, clock)

    def _matcher(
        self, source: Source, solver: Solver, gradients: PairedGradients, displacement: Weights | None
    ) -> Matcher:
        method = self.settings.method
        if method == "naive":
            return Naive()
        if method != "oracle":
            return GradientMatching(method, solver, gradients)
        assert displacement is not None
        moved = source.displacement(1 if self.settings.compat else source.stretches)
        return Oracle(
            solver, displacement, {name: moved[name].to(tensor.dtype) for name, tensor in displacement.items()}
        )

    def _target_displacement(self, source: Source) -> Weights | None:
        """Return what the oracle looks at: how the target's own training moved it.

        Raises:
            TrainingError: If the target was not trained.
        """
        if self.settings.method != "oracle":
            return None
        if self.target_trajectory is None:
            raise TrainingError(
                "The method 'oracle' looks at the target's own training: expected 'target_trajectory', received none. "
                "Give the run that started at the target, or choose 'gmt', 'fgmt' or 'naive'."
            )
        names = [name for name, _ in self.model.named_parameters()]
        path = self.settings.trajectory if self.settings.compat else "linear"
        own = Source(self.target_trajectory, names, path=path, whose="target", device=self.device)
        return {name: tensor.to(self.target[name].dtype) for name, tensor in own.displacement(1).items()}

    def _check(self) -> None:
        """Stop if the user asked for it.

        Raises:
            Interrupted: If so.
        """
        if self.should_stop is not None and self.should_stop():
            raise Interrupted(
                "The transfer was stopped; with the same folder for finished steps it goes on after the last one."
            )
