"""A stack of runs in step: one iteration of all members at a time, checkpoints for all of them together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from weightscape.errors import Interrupted, TrainingError
from weightscape.step import Step
from weightscape.training.checkpoint import Progress, ResumeFolder, Row
from weightscape.training.divergence import diverged
from weightscape.training.identity import run_identity
from weightscape.training.keeping import epoch_length, kept_steps
from weightscape.training.losses import check_labels
from weightscape.training.population_learner import StackedLearner
from weightscape.training.recipe import Keep, Recipe
from weightscape.training.result import TrainResult, summarise
from weightscape.training.schedules import changes_within_epochs, check_schedule, learning_rate
from weightscape.training.selection import best_epoch
from weightscape.weights.algebra import Weights
from weightscape.weights.files import load_weights
from weightscape.weights.trajectory import Trajectory

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset

Member: TypeAlias = TrainResult | TrainingError
"""What became of a member: its result, or why it stopped."""
_LOOK_EVERY = 100
"""Iterations between looks at the losses, as in a single run; reading them makes the device wait."""
_STDERR = "test_stderr"
_EVALUATION_IMAGES = 512
"""Images of all members together in a forward pass of an evaluation, unless a training batch is larger."""


class StackedRun:
    """Members that are trained together, between two iterations.

    A member whose loss is no longer finite leaves the stack; the others go on.

    Args:
        models: Initial weights; never changed.
        dataset: What they learn from.
        recipes: One for each member, with one number of epochs and one batch size.
        order_seeds: Seed of each member's order of samples and augmentation.
        keep: Which snapshots to keep.
        device: Where to train.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        dataset: Dataset,
        *,
        recipes: Sequence[Recipe],
        order_seeds: Sequence[int],
        keep: Keep,
        device: torch.device,
    ) -> None:
        self._dataset = dataset
        self._recipes = recipes
        self._order_seeds = order_seeds
        self._epochs, self._batch_size = recipes[0].epochs, recipes[0].batch_size
        check_labels(dataset.train.labels, recipes[0].loss)
        for recipe in recipes:
            check_schedule(recipe)
        self._length = epoch_length(len(dataset.train), recipes[0])
        self._every_step = any(changes_within_epochs(recipe) for recipe in recipes)
        self._kept = kept_steps(keep, epochs=self._epochs, iterations=self._length)
        self._learner = StackedLearner(models, recipes, device)
        self._active = list(range(len(models)))
        self._rows: list[list[Row]] = [[] for _ in models]
        self._snapshots: list[dict[Step, Weights | Path]] = [{} for _ in models]
        self._best: list[Weights | Path] = [{} for _ in models]
        self._failures: dict[int, TrainingError] = {}
        self._progress = Progress()
        self._folder: ResumeFolder | None = None
        self._checkpoint_seconds = math.inf
        self._clock = time.monotonic()

    def attach(self, folder: Path, models: Sequence[nn.Module], checkpoint_seconds: float) -> None:
        """Save the runs in a folder from now on."""
        keep = [str(step) for step in self._kept.values()]
        members = [
            run_identity(model, self._dataset, recipe=recipe, order_seed=seed, keep=keep, device=self._learner.device)
            for model, recipe, seed in zip(models, self._recipes, self._order_seeds, strict=True)
        ]
        self._folder = ResumeFolder(folder, {"stack": members})
        self._checkpoint_seconds = checkpoint_seconds

    def train(self, should_stop: Callable[[], bool], on_epoch: Callable[[int, int], None]) -> list[Member]:
        """Train to the end and return what became of each member.

        Raises:
            Interrupted: If `should_stop` said so; the state is saved.
        """
        self._begin()
        on_epoch(self._progress.epoch, self._epochs)
        while self._progress.epoch < self._epochs and self._active:
            self._train_epoch(should_stop)
            self._close_epoch()
            on_epoch(self._progress.epoch, self._epochs)
        return [self._failures.get(member) or self._result(member) for member in range(len(self._rows))]

    def _begin(self) -> None:
        checkpoint = self._folder.latest() if self._folder else None
        if checkpoint is None:
            self._keep_snapshots()
            self._record([{"lr": None, "train_loss": None, "train_accuracy": None} for _ in self._active])
            self._save()
            return
        self._progress = checkpoint.progress
        self._failures = {int(member): TrainingError(text) for member, text in self._progress.failures.items()}
        self._leave_out(set(self._failures))
        self._learner.restore(checkpoint.tensors)
        for row in self._progress.rows:
            self._rows[int(row["member"] or 0)].append({name: value for name, value in row.items() if name != "member"})
        for name in self._progress.snapshots:
            member, _, step = name.partition("-")
            assert self._folder is not None
            self._snapshots[int(member)][Step.parse(step)] = self._folder.snapshot_path(name)
        for name in self._progress.best:
            assert self._folder is not None
            self._best[int(name.split("-")[1])] = self._folder.snapshot_path(name)

    def _train_epoch(self, should_stop: Callable[[], bool]) -> None:
        progress = self._progress
        self._learner.set_learning_rates(self._rates())
        if not progress.iteration:
            self._learner.begin_epoch()
        for images, labels in islice(self._batches(), progress.iteration, None):
            if should_stop():
                self._interrupt()
            if self._every_step:
                self._learner.set_learning_rates(self._rates())
            self._learner.step(images, labels)
            progress.iteration += 1
            if progress.iteration % _LOOK_EVERY == 0:
                self._check(self._learner.losses(), "training")
            self._keep_snapshots()
            if not self._active:
                return
            if time.monotonic() - self._clock > self._checkpoint_seconds:
                self._save()

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield an epoch of images ``(members, b, c, h, w)`` and labels ``(members, b)`` for those still there."""
        augment, epoch = self._dataset.settings.augment, self._progress.epoch
        streams = {
            member: self._dataset.train.epoch(
                self._batch_size, seed=self._order_seeds[member], epoch=epoch, augment=augment
            )
            for member in self._active
        }
        for _ in range(self._length):
            images, labels = zip(*(next(streams[member]) for member in self._active), strict=True)
            yield torch.stack(images), torch.stack(labels)

    def _close_epoch(self) -> None:
        """Evaluate, add a row for each member and write a checkpoint."""
        self._check(self._learner.losses(), "training")
        measured = zip(self._first_rates(), self._learner.losses(), self._learner.accuracies(), strict=True)
        names = ("lr", "train_loss", "train_accuracy")
        self._check(self._record([dict(zip(names, values, strict=True)) for values in measured]), "validation")
        self._progress.epoch, self._progress.iteration = self._progress.epoch + 1, 0
        self._save()

    def _record(self, training: Sequence[Mapping[str, float | None]]) -> list[float]:
        """Add a row for the epochs done so far to each member still there, and return the validation losses."""
        if not self._active:
            return []
        batch = max(self._batch_size, _EVALUATION_IMAGES // len(self._active))
        splits = (self._dataset.validation, self._dataset.test)
        validations, tests = (self._learner.evaluate(split, batch_size=batch) for split in splits)
        measured = zip(self._active, training, validations, tests, strict=True)
        for position, (member, own, validation, test) in enumerate(measured):
            row: Row = {"epoch": len(self._rows[member]), **own}
            row |= {"validation_loss": validation.loss, "validation_accuracy": validation.accuracy}
            row |= {"test_loss": test.loss, "test_accuracy": test.accuracy, _STDERR: test.accuracy_stderr}
            self._rows[member].append(row)
            if best_epoch(self._rows[member], self._recipes[member].best) == row["epoch"]:
                self._keep_best(position, member)
        return [validation.loss for validation in validations]

    def _check(self, losses: Sequence[float], split: str) -> None:
        """Take the members that diverged out of the stack."""
        said = {
            member: diverged(loss, split, epoch=self._progress.epoch, epochs=self._epochs, lr=lr)
            for member, loss, lr in zip(self._active, losses, self._first_rates(), strict=True)
            if not math.isfinite(loss)
        }
        self._failures |= {member: TrainingError(text) for member, text in said.items()}
        self._progress.failures |= {str(member): text for member, text in said.items()}
        self._leave_out(set(said))

    def _leave_out(self, members: set[int]) -> None:
        positions = [position for position, member in enumerate(self._active) if member not in members]
        if len(positions) < len(self._active):
            self._active = [self._active[position] for position in positions]
            self._learner.keep(positions)
            self._learner.set_learning_rates(self._rates())

    def _rates(self) -> list[float]:
        """Return the learning rate of each member's next step."""
        return self._first_rates(self._progress.iteration)

    def _first_rates(self, iteration: int = 0) -> list[float]:
        """Return the learning rate of each member's first step in the present epoch, or of another step of it."""
        return [
            learning_rate(self._recipes[member], self._progress.epoch, iteration, length=self._length)
            for member in self._active
        ]

    def _keep_snapshots(self) -> None:
        step = self._kept.get(Step(self._progress.epoch, self._progress.iteration).total(self._length))
        if step is None:
            return
        for position, member in enumerate(self._active):
            weights = self._learner.weights(position)
            self._snapshots[member][step] = weights
            if self._folder:
                name = f"{member:04d}-{step}"
                self._progress.snapshots[name] = self._folder.save_snapshot(name, weights)
                self._snapshots[member][step] = self._folder.snapshot_path(name)

    def _keep_best(self, position: int, member: int) -> None:
        weights, prefix = self._learner.weights(position), f"{member:04d}-"
        self._best[member] = weights
        if self._folder:
            others = {name: digest for name, digest in self._progress.best.items() if f"-{prefix}" not in name}
            written = self._folder.save_best(len(self._rows[member]) - 1, weights, member=prefix)
            self._progress.best = others | written
            self._best[member] = self._folder.snapshot_path(next(iter(written)))

    def _save(self) -> None:
        """Write a checkpoint, where there is a folder for it."""
        now = time.monotonic()
        self._progress.seconds, self._clock = self._progress.seconds + now - self._clock, now
        self._progress.rows = [{"member": member, **row} for member, rows in enumerate(self._rows) for row in rows]
        if self._folder:
            self._folder.save(self._progress, self._learner.tensors())

    def _interrupt(self) -> None:
        self._save()
        rest = "the same command continues it" if self._folder else "without a resume folder nothing of it is kept"
        step = Step(self._progress.epoch, self._progress.iteration)
        raise Interrupted(f"The training of {len(self._rows)} networks was stopped at {step}; {rest}.")

    def _result(self, member: int) -> TrainResult:
        best, rows = self._best[member], self._rows[member]
        return summarise(
            [{name: value for name, value in row.items() if name != _STDERR} for row in rows],
            Trajectory(self._snapshots[member], iterations_per_epoch=self._length),
            recipe=self._recipes[member],
            best=load_weights(best) if isinstance(best, Path) else best,
            state={},  # a longer run does not go on from a stack
            test_stderr=float(rows[-1][_STDERR] or 0.0),
            iterations=self._epochs * self._length,
            seconds=self._progress.seconds / len(self._rows),
        )
