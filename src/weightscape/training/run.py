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
from weightscape.training.learner import Learner
from weightscape.training.losses import check_labels
from weightscape.training.noise import private_noise
from weightscape.training.recipe import Keep, Recipe
from weightscape.training.result import Evaluation, TrainResult, summarise
from weightscape.training.schedules import changes_within_epochs, check_schedule, rates
from weightscape.training.selection import best_epoch, has_stalled
from weightscape.weights.algebra import Weights
from weightscape.weights.files import load_weights
from weightscape.weights.trajectory import Trajectory

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset, Split

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
    earlier: EarlierRun | None = None,
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
        recipe: Epochs, batch size, optimiser, schedule, loss, and when to stop.
        order_seed: Seed of the order of samples, the augmentation and the noise.
        keep: Which snapshots to keep: both ends, all epochs, or the listed steps (``0ep`` is initialisation).
        device: Where to train.
        resume: Folder of checkpoints, written after every epoch and read at the start. It then also holds the
            snapshots: the trajectory reads them from there, so save it elsewhere before removing the folder.
        checkpoint_seconds: Time after which a checkpoint is written within an epoch too.
        earlier: The result of the same run with fewer epochs, from which this one goes on; the result is that of a run
            from the start, to the bit. It must be the same in all else, which is not checked beyond its initial
            weights. A state in `resume` goes before it.
        on_epoch: Called with the epochs done, all epochs, and the last row of the table; once at the start as well;
            never for a run of 0 epochs.
        should_stop: Asked before every step and during evaluations; ``True`` writes a checkpoint and stops.

    Raises:
        TrainingError: If a step to keep lies beyond the run, `earlier` cannot be continued, a function of the user's
            own is not called as it should be, memory does not suffice, or the loss is no longer finite.
        DataError: If a split is empty, or has labels that the model has no logits for.
        StoreError: If `resume` holds checkpoints of another run.
        Interrupted: If `should_stop` said so.
    """
    run = _Run(
        model,
        dataset,
        recipe=recipe,
        order_seed=order_seed,
        keep=keep,
        device=device,
        should_stop=should_stop or (lambda: False),
    )
    if resume is not None:
        run.attach(resume, model, checkpoint_seconds)
    with private_noise(run.learner.device):
        run.begin(earlier)
        _report(run, on_epoch)
        while run.progress.epoch < recipe.epochs and not has_stalled(run.progress.rows, recipe):
            run.train_epoch()
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
        should_stop: Callable[[], bool],
    ) -> None:
        check_labels(dataset.train.labels, recipe.loss)
        check_schedule(recipe)
        self.dataset = dataset
        self.recipe = recipe
        self.order_seed = order_seed
        self.should_stop = should_stop
        self.length = epoch_length(len(dataset.train), recipe)
        self.kept = kept_steps(keep, epochs=recipe.epochs, iterations=self.length)
        self.learner = Learner(model, recipe, device)
        self.progress = Progress()
        self.snapshots: dict[Step, Weights | Path] = {}
        self.best: Weights | Path = {}
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

    def begin(self, earlier: EarlierRun | None) -> None:
        """Continue from the newest checkpoint or an earlier run, or record the state before training."""
        checkpoint = self.folder.latest() if self.folder else None
        if self.folder and checkpoint:
            self.learner.restore(checkpoint.tensors)
            self.progress = checkpoint.progress
            self.snapshots = {Step.parse(text): self.folder.snapshot_path(text) for text in self.progress.snapshots}
            for name in self.progress.best:
                self.best = self.folder.snapshot_path(name)
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
        check_earlier(earlier, self.learner.weights(), kept=self.kept, length=self.length, recipe=self.recipe)
        epochs = epochs_of(earlier)
        self.learner.continue_from(earlier.trajectory.at(Step(epochs)), state_of(earlier))
        self.progress.epoch, self.progress.rows = epochs, rows_of(earlier)
        self.progress.test_stderr = test_stderr_of(earlier)
        for total, step in self.kept.items():
            if total <= epochs * self.length:
                self.put_snapshot(step, earlier.trajectory.at(step))
        self.put_best(best_epoch(self.progress.rows, self.recipe.best), earlier.best)
        self.keep_last_of_stalled()
        self.save()
        _LOG.info("Training continues an earlier run of %d epochs", epochs)

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
            self.put_best(len(self.progress.rows) - 1, self.learner.weights())
        return validation.loss

    def measure(self, split: Split) -> Evaluation:
        """Evaluate the present weights."""
        learner = self.learner
        return evaluate(
            learner.model, split, device=learner.device, criterion=learner.criterion, should_stop=self.should_stop
        )

    def keep_snapshot(self) -> None:
        """Keep the present weights if this step is to be kept."""
        step = self.kept.get(self.step.total(self.length))
        if step is not None:
            self.put_snapshot(step, self.learner.weights())

    def keep_last_of_stalled(self) -> None:
        """Keep the weights at which a run stops early where those of its last epoch were to be kept."""
        final = self.recipe.epochs * self.length
        if has_stalled(self.progress.rows, self.recipe) and final in self.kept and self.step not in self.snapshots:
            self.put_snapshot(self.step, self.learner.weights())

    def put_snapshot(self, step: Step, weights: Weights) -> None:
        """Keep weights in memory, or on disk where there is a folder."""
        self.snapshots[step] = weights
        if self.folder:
            self.progress.snapshots[str(step)] = self.folder.save_snapshot(step, weights)
            self.snapshots[step] = self.folder.snapshot_path(step)

    def put_best(self, epoch: int, weights: Weights) -> None:
        """Replace the best weights so far; those that are kept anyway are not written twice."""
        self.best = weights
        if self.folder:
            kept = self.progress.snapshots.get(str(Step(epoch)))
            self.progress.best = {str(Step(epoch)): kept} if kept else self.folder.save_best(epoch, weights)
            self.best = self.folder.snapshot_path(next(iter(self.progress.best)))

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
        progress = self.progress
        return summarise(
            progress.rows,
            Trajectory(self.snapshots, iterations_per_epoch=self.length),
            recipe=self.recipe,
            best=load_weights(self.best) if isinstance(self.best, Path) else self.best,
            state=state_to_keep(self.recipe, self.learner, epochs=progress.epoch, test_stderr=progress.test_stderr),
            test_stderr=progress.test_stderr,
            iterations=self.step.total(self.length),
            micro_batches=self.learner.parts,
            seconds=progress.seconds,
        )
