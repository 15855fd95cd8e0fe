"""One training run, which can be stopped or killed at any moment and continued to the same bits."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn

from weightscape.errors import DataError, Interrupted, TrainingError
from weightscape.step import Step
from weightscape.training.checkpoint import Progress, ResumeFolder
from weightscape.training.evaluation import evaluate
from weightscape.training.identity import run_identity
from weightscape.training.keeping import kept_steps
from weightscape.training.learner import Learner
from weightscape.training.noise import private_noise
from weightscape.training.recipe import Keep, Recipe
from weightscape.training.result import TrainResult, summarise
from weightscape.training.schedules import learning_rate
from weightscape.weights.algebra import Weights
from weightscape.weights.trajectory import Trajectory

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset

OnEpoch: TypeAlias = Callable[[int, int, Mapping[str, float | int | None]], None]
_LOOK_EVERY = 100
"""Iterations between looks at the loss; reading it makes the device wait."""
_LOG = logging.getLogger(__name__)


def train_model(
    model: nn.Module,
    dataset: Dataset,
    *,
    recipe: Recipe,
    order_seed: int,
    keep: Keep = "ends",
    device: str | torch.device = "cpu",
    resume: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    on_epoch: OnEpoch | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train a copy of a model from its present weights.

    The batches and their augmentation are a pure function of `order_seed` and the epoch, and so is the noise inside the
    model (dropout). With the same arguments, machine and number of threads the result is the same to the bit on a CPU,
    also when the process was killed in between, whatever the moment.

    Args:
        model: Initial weights; never changed. Parameters that require no gradient stay as they are.
        dataset: Training, validation and test split, and how to augment.
        recipe: Epochs, batch size, optimiser and schedule.
        order_seed: Seed of the order of samples, the augmentation and the noise.
        keep: Which snapshots to keep: both ends, all epochs, or the listed steps (``0ep`` is initialisation).
        device: Where to train.
        resume: Folder of checkpoints, written after every epoch and read at the start. It then also holds the
            snapshots: the trajectory reads them from there, so save it elsewhere before removing the folder.
        checkpoint_seconds: Time after which a checkpoint is written within an epoch too.
        on_epoch: Called with the epochs done, all epochs, and the last row of the table; once at the start as well;
            never for a run of 0 epochs.
        should_stop: Asked before every step; ``True`` writes a checkpoint and stops.

    Raises:
        TrainingError: If a step to keep lies beyond the run, or the loss is no longer finite.
        DataError: If a split is empty, or has labels that the model has no logits for.
        StoreError: If `resume` holds checkpoints of another run.
        Interrupted: If `should_stop` said so.
    """
    run = _Run(model, dataset, recipe=recipe, order_seed=order_seed, keep=keep, device=device)
    if resume is not None:
        run.attach(resume, model, checkpoint_seconds)
    with private_noise(run.learner.device):
        run.begin()
        _report(run, on_epoch)
        while run.progress.epoch < recipe.epochs:
            run.train_epoch(should_stop or (lambda: False))
            run.close_epoch()
            _report(run, on_epoch)
    return run.result()


def _report(run: _Run, on_epoch: OnEpoch | None) -> None:
    if on_epoch is not None and run.recipe.epochs:
        on_epoch(run.progress.epoch, run.recipe.epochs, dict(run.progress.rows[-1]))


class _Run:
    """A run between two steps: what is fixed, how far it is, and where it is saved."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        *,
        recipe: Recipe,
        order_seed: int,
        keep: Keep,
        device: str | torch.device,
    ) -> None:
        if not len(dataset.train):
            raise DataError("Expected at least one image to train on, received an empty training split.")
        self.dataset = dataset
        self.recipe = recipe
        self.order_seed = order_seed
        self.length = math.ceil(len(dataset.train) / recipe.batch_size)
        self.kept = kept_steps(keep, epochs=recipe.epochs, iterations=self.length)
        self.learner = Learner(model, recipe, device)
        self.progress = Progress()
        self.snapshots: dict[Step, Weights | Path] = {}
        self.folder: ResumeFolder | None = None
        self.checkpoint_seconds = math.inf
        self.clock = time.monotonic()

    def attach(self, folder: str | Path, model: nn.Module, checkpoint_seconds: float) -> None:
        """Save the run in a folder from now on."""
        identity = run_identity(
            model,
            self.dataset,
            recipe=self.recipe,
            order_seed=self.order_seed,
            keep=map(str, self.kept.values()),
            device=self.learner.device,
        )
        self.folder = ResumeFolder(folder, identity)
        self.checkpoint_seconds = checkpoint_seconds

    def begin(self) -> None:
        """Continue from the newest checkpoint, or record the state before training."""
        checkpoint = self.folder.latest() if self.folder else None
        if self.folder is None or checkpoint is None:
            self.learner.begin_epoch(self.order_seed, 0)
            self.keep_snapshot()
            self.record(lr=None, train_loss=None, train_accuracy=None)
            self.save()
            return
        self.learner.restore(checkpoint.tensors)
        self.progress = checkpoint.progress
        self.snapshots = {Step.parse(text): self.folder.snapshot_path(text) for text in self.progress.snapshots}
        _LOG.info("Training continues from %s", self.step)

    @property
    def step(self) -> Step:
        """The present step."""
        return Step(self.progress.epoch, self.progress.iteration)

    @property
    def lr(self) -> float:
        """The learning rate of the present epoch."""
        return learning_rate(self.recipe, self.progress.epoch)

    def train_epoch(self, should_stop: Callable[[], bool]) -> None:
        """Take the steps of the present epoch that were not taken yet."""
        progress = self.progress
        self.learner.set_learning_rate(self.lr)
        if not progress.iteration:
            self.learner.begin_epoch(self.order_seed, progress.epoch)
        batches = self.dataset.train.epoch(
            self.recipe.batch_size,
            seed=self.order_seed,
            epoch=progress.epoch,
            augment=self.dataset.settings.augment,
        )
        for images, labels in islice(batches, progress.iteration, None):
            if should_stop():
                self.interrupt()
            self.learner.step(images, labels)
            progress.iteration += 1
            if progress.iteration % _LOOK_EVERY == 0:
                self.check(self.learner.loss(), "training")
            self.keep_snapshot()
            if time.monotonic() - self.clock > self.checkpoint_seconds:
                self.save()

    def close_epoch(self) -> None:
        """Evaluate, add a row and write a checkpoint."""
        lr, loss, accuracy = self.lr, self.learner.loss(), self.learner.accuracy()
        self.check(loss, "training")
        validation_loss = self.record(lr=lr, train_loss=loss, train_accuracy=accuracy)
        self.check(validation_loss, "validation")
        self.progress.epoch, self.progress.iteration = self.progress.epoch + 1, 0
        self.save()

    def check(self, loss: float, split: str) -> None:
        """Stop a run that diverged.

        Raises:
            TrainingError: If the loss is not finite.
        """
        if not math.isfinite(loss):
            raise TrainingError(
                f"Training diverged: the {split} loss is {loss} in epoch {self.progress.epoch + 1} of "
                f"{self.recipe.epochs}, at a learning rate of {self.lr:g}. Use a smaller learning rate."
            )

    def record(self, **training: float | None) -> float:
        """Add a row for the epochs done so far and return the validation loss."""
        validation, test = (
            evaluate(self.learner.model, split, device=self.learner.device)
            for split in (self.dataset.validation, self.dataset.test)
        )
        row = {"epoch": len(self.progress.rows), **training}
        row |= {"validation_loss": validation.loss, "validation_accuracy": validation.accuracy}
        row |= {"test_loss": test.loss, "test_accuracy": test.accuracy}
        self.progress.rows.append(row)
        return validation.loss

    def keep_snapshot(self) -> None:
        """Keep the present weights if this step is to be kept."""
        step = self.kept.get(self.step.total(self.length))
        if step is None:
            return
        self.snapshots[step] = weights = self.learner.weights()
        if self.folder:
            self.progress.snapshots[str(step)] = self.folder.save_snapshot(step, weights)
            self.snapshots[step] = self.folder.snapshot_path(step)

    def save(self) -> None:
        """Write a checkpoint, where there is a folder for it."""
        now = time.monotonic()
        self.progress.seconds, self.clock = self.progress.seconds + now - self.clock, now
        if self.folder:
            self.folder.save(self.progress, self.learner.tensors())

    def interrupt(self) -> None:
        """Save and leave.

        Raises:
            Interrupted: Always.
        """
        self.save()
        rest = "the same command continues it" if self.folder else "without a resume folder nothing of it is kept"
        raise Interrupted(f"Training was stopped at {self.step}; {rest}.")

    def result(self) -> TrainResult:
        """Return what the run found."""
        return summarise(
            self.progress.rows,
            Trajectory(self.snapshots, iterations_per_epoch=self.length),
            test_count=len(self.dataset.test),
            iterations=self.step.total(self.length),
            seconds=self.progress.seconds,
        )
