"""A run between two steps: what is fixed, how far it is, and where it is saved."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from weightscape.errors import Interrupted, TrainingError
from weightscape.step import Step
from weightscape.training.checkpoint import Progress, ResumeFolder
from weightscape.training.continuation import (
    EarlierRun,
    check_earlier,
    epochs_of,
    rows_of,
    state_of,
    state_to_keep,
    test_stderr_of,
)
from weightscape.training.divergence import diverged
from weightscape.training.evaluation import evaluate
from weightscape.training.identity import run_identity
from weightscape.training.keeping import epoch_length, kept_steps
from weightscape.training.kept import KeptWeights
from weightscape.training.learner import Learner
from weightscape.training.losses import check_labels
from weightscape.training.recipe import Keep, Recipe
from weightscape.training.result import Evaluation, TrainResult, summarise
from weightscape.training.schedules import changes_within_epochs, check_schedule, rates
from weightscape.training.selection import best_epoch, has_stalled

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset, Split

_LOOK_EVERY = 100
"""Iterations between looks at the loss; reading it makes the device wait."""
_LOG = logging.getLogger(__name__)


class OngoingRun:
    """A training run that is carried on step by step; :func:`weightscape.training.run.train_model` explains it.

    Args:
        model: Initial weights; never changed.
        dataset: Training, validation and test split, and how to augment.
        recipe: How to train.
        order_seed: Seed of the order of samples, the augmentation and the noise.
        keep: Which snapshots to keep.
        device: Where to train.
        should_stop: Asked before every step and during evaluations.

    Raises:
        DataError: If there is nothing to train on, or the labels do not suit the loss.
        TrainingError: If a step to keep lies beyond the run, or the recipe does not suit the model.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        *,
        recipe: Recipe,
        order_seed: int,
        keep: Keep,
        device: str | torch.device,
        should_stop: Callable[[], bool],
    ) -> None:
        check_labels(dataset.train.labels, recipe.loss)
        check_schedule(recipe)
        self.dataset = dataset
        self.recipe = recipe
        self.order_seed = order_seed
        self.should_stop = should_stop
        self.length = epoch_length(len(dataset.train), recipe)
        self.kept = KeptWeights(kept_steps(keep, epochs=recipe.epochs, iterations=self.length))
        self.learner = Learner(model, recipe, device)
        self.progress = Progress()
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
            keep=map(str, self.kept.steps.values()),
            device=self.learner.device,
        )
        self.folder = ResumeFolder(folder, identity)
        self.kept.attach(self.folder)
        self.checkpoint_seconds = checkpoint_seconds

    def begin(self, earlier: EarlierRun | None) -> None:
        """Continue from the newest checkpoint or an earlier run, or record the state before training."""
        checkpoint = self.folder.latest() if self.folder else None
        if checkpoint is not None:
            self.learner.restore(checkpoint.tensors)
            self.progress = checkpoint.progress
            self.kept.reopen(self.progress)
            _LOG.info("Training continues from %s", self.step)
        elif earlier is not None:
            self.take_over(earlier)
        if not self.progress.rows:
            self.learner.begin_epoch(self.order_seed, 0)
            self.keep_snapshot()
            self.record(lr=None, train_loss=None, train_accuracy=None)
            self.save()

    def take_over(self, earlier: EarlierRun) -> None:
        """Go to the end of an earlier run."""
        check_earlier(earlier, self.learner.weights(), kept=self.kept.steps, length=self.length, recipe=self.recipe)
        epochs = epochs_of(earlier)
        self.learner.continue_from(earlier.trajectory.at(Step(epochs)), state_of(earlier))
        self.progress.epoch, self.progress.rows = epochs, rows_of(earlier)
        self.progress.test_stderr = test_stderr_of(earlier)
        for total, step in self.kept.steps.items():
            if total <= epochs * self.length:
                self.kept.add(step, earlier.trajectory.at(step))
        self.kept.replace_best(best_epoch(self.progress.rows, self.recipe.best), earlier.best)
        self.keep_last_of_stalled()
        self.save()
        _LOG.info("Training continues an earlier run of %d epochs", epochs)

    @property
    def is_over(self) -> bool:
        """Whether the last epoch is done, or early stopping has ended the run."""
        return self.progress.epoch >= self.recipe.epochs or has_stalled(self.progress.rows, self.recipe)

    @property
    def step(self) -> Step:
        """The present step."""
        return Step(self.progress.epoch, self.progress.iteration)

    @property
    def lr(self) -> float:
        """The learning rate of the first step of the present epoch."""
        return rates(self.recipe, self.progress.epoch, length=self.length).lr

    def set_rates(self) -> None:
        """Set the learning rate, and the momentum where the schedule moves it, of the next step."""
        now = rates(self.recipe, self.progress.epoch, self.progress.iteration, length=self.length)
        self.learner.set_learning_rate(now.lr)
        if now.momentum is not None:
            self.learner.set_momentum(now.momentum)

    def train_epoch(self) -> None:
        """Take the steps of the present epoch that were not taken yet."""
        progress = self.progress
        self.set_rates()
        every_step = changes_within_epochs(self.recipe)
        if not progress.iteration:
            self.learner.begin_epoch(self.order_seed, progress.epoch)
        batches = self.dataset.train.epoch(
            self.recipe.batch_size,
            seed=self.order_seed,
            epoch=progress.epoch,
            augment=self.dataset.settings.augment,
        )
        for images, labels in islice(batches, progress.iteration, self.length):
            if self.should_stop():
                self.interrupt()
            if every_step:
                self.set_rates()
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
        self.keep_last_of_stalled()
        self.save()

    def check(self, loss: float, split: str) -> None:
        """Stop a run that diverged.

        Raises:
            TrainingError: If the loss is not finite.
        """
        if not math.isfinite(loss):
            at = {"epoch": self.progress.epoch, "epochs": self.recipe.epochs}
            raise TrainingError(diverged(loss, split, **at, lr=self.lr))

    def record(self, **training: float | None) -> float:
        """Add a row for the epochs done so far and return the validation loss; remember the weights if it is the best.

        Raises:
            Interrupted: If the user asked to stop; nothing is recorded then.
        """
        try:
            validation, test = self.measure(self.dataset.validation), self.measure(self.dataset.test)
        except Interrupted:
            self.interrupt()
        row = {"epoch": len(self.progress.rows), **training}
        row |= {"validation_loss": validation.loss, "validation_accuracy": validation.accuracy}
        row |= {"test_loss": test.loss, "test_accuracy": test.accuracy}
        self.progress.rows.append(row)
        self.progress.test_stderr = test.accuracy_stderr
        if best_epoch(self.progress.rows, self.recipe.best) == row["epoch"]:
            self.kept.replace_best(len(self.progress.rows) - 1, self.learner.weights())
        return validation.loss

    def measure(self, split: Split) -> Evaluation:
        """Evaluate the present weights."""
        learner = self.learner
        return evaluate(
            learner.model, split, device=learner.device, criterion=learner.criterion, should_stop=self.should_stop
        )

    def keep_snapshot(self) -> None:
        """Keep the present weights if this step is to be kept."""
        step = self.kept.steps.get(self.step.total(self.length))
        if step is not None:
            self.kept.add(step, self.learner.weights())

    def keep_last_of_stalled(self) -> None:
        """Keep the weights at which a run stops early where those of its last epoch were to be kept."""
        wanted = self.recipe.epochs * self.length in self.kept.steps and self.step not in self.kept
        if wanted and has_stalled(self.progress.rows, self.recipe):
            self.kept.add(self.step, self.learner.weights())

    def save(self) -> None:
        """Write a checkpoint, where there is a folder for it."""
        now = time.monotonic()
        self.progress.seconds, self.clock = self.progress.seconds + now - self.clock, now
        self.progress.snapshots, self.progress.best = dict(self.kept.digests), dict(self.kept.best_digest)
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
        progress = self.progress
        return summarise(
            progress.rows,
            self.kept.trajectory(length=self.length),
            recipe=self.recipe,
            best=self.kept.best(),
            state=state_to_keep(self.recipe, self.learner, epochs=progress.epoch, test_stderr=progress.test_stderr),
            test_stderr=progress.test_stderr,
            iterations=self.step.total(self.length),
            micro_batches=self.learner.parts,
            seconds=progress.seconds,
        )
