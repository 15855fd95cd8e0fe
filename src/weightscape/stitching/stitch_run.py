"""Stitches that are trained on the same batches, from their beginning to their last epoch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from weightscape.errors import DataError, Interrupted, TrainingError
from weightscape.stitching.features import Source
from weightscape.stitching.learner import StitchLearner
from weightscape.training.checkpoint import Progress, ResumeFolder, Row
from weightscape.training.keeping import epoch_length
from weightscape.training.schedules import changes_within_epochs, check_schedule, rates
from weightscape.weights.algebra import Weights

_EPOCHS, _ITERATIONS = 0, 1
_LOG = logging.getLogger(__name__)


class StitchRun:
    """Training of stitches that have batch size and seed in common, and hence every batch.

    Args:
        learners: The stitches at their beginning.
        source: Features of the training split.
        images: Images in it.
        measure: Called with the position of a stitch before the first and after every `measure_every` steps; returns
            columns of a row of the table of iterations.
        measure_every: Steps between two measurements; 0 for none.
        should_stop: Asked before every step.
        checkpoint_seconds: Time after which a checkpoint is written.

    Raises:
        DataError: If there is no full batch.
        TrainingError: If a schedule of the user's own takes no such argument.
    """

    def __init__(
        self,
        learners: Sequence[StitchLearner],
        source: Source,
        *,
        images: int,
        measure: Callable[[int], Mapping[str, float | None]],
        measure_every: int = 0,
        should_stop: Callable[[], bool] = lambda: False,
        on_epoch: Callable[[int, int], None] = lambda done, total: None,
        checkpoint_seconds: float = 10.0,
    ) -> None:
        self._learners, self._source = list(learners), source
        self._measure, self._every = measure, measure_every
        self._should_stop, self._on_epoch, self._checkpoint_seconds = should_stop, on_epoch, checkpoint_seconds
        self._epochs = max(learner.spec.epochs for learner in learners)
        recipe = learners[0].spec.recipe
        self._seed, self._batch_size = learners[0].spec.seed, recipe.batch_size
        if self._epochs and 0 < images < recipe.batch_size:
            raise DataError(
                f"Expected at least one full batch of {recipe.batch_size}, received {images} training images; the last "
                "images of an epoch that fill no batch are left out. Take a smaller batch_size, or more images."
            )
        self._length = epoch_length(images, recipe) if self._epochs else 0
        for learner in learners:
            check_schedule(learner.spec.recipe)
        self._progress = Progress()
        self._folder: ResumeFolder | None = None
        self._saved = time.monotonic()

    def attach(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Save the run in a folder from now on, and go on from what is there."""
        self._folder = ResumeFolder(folder, identity)
        checkpoint = self._folder.latest()
        if checkpoint is None:
            return
        self._progress = checkpoint.progress
        for number, learner in enumerate(self._learners):
            prefix = f"{number}/"
            learner.restore(
                {name.removeprefix(prefix): one for name, one in checkpoint.tensors.items() if name.startswith(prefix)}
            )
        _LOG.info("Training of stitches goes on from epoch %d", self._progress.epoch)

    def train(self) -> None:
        """Take all steps that were not taken yet.

        Raises:
            Interrupted: If `should_stop` said so; a checkpoint is written before.
        """
        if self._progress.name == Progress().name and not self._progress.rows:
            self._measure_all(0)
        while self._progress.epoch < self._epochs and self._active():
            self._train_epoch()
            self._close_epoch()
        self._save()

    def failure(self, number: int) -> TrainingError | None:
        """Return why a stitch has no result, or None."""
        found = self._progress.failures.get(str(number))
        return None if found is None else TrainingError(found)

    def epochs(self, number: int) -> list[Row]:
        """Return the rows of the table of epochs of a stitch."""
        return self._rows(number, _EPOCHS)

    def iterations(self, number: int) -> list[Row]:
        """Return the rows of the table of iterations of a stitch."""
        return self._rows(number, _ITERATIONS)

    def steps(self, number: int) -> int:
        """Return how many steps a stitch has taken."""
        return len(self.epochs(number)) * self._length

    def _rows(self, number: int, table: int) -> list[Row]:
        return [
            {name: value for name, value in row.items() if name not in {"stitch", "table"}}
            for row in self._progress.rows
            if row["stitch"] == number and row["table"] == table
        ]

    def _active(self) -> list[int]:
        """Return the positions of the stitches that take part in the present epoch."""
        return [
            number
            for number, learner in enumerate(self._learners)
            if self._progress.epoch < learner.spec.epochs and str(number) not in self._progress.failures
        ]

    def _train_epoch(self) -> None:
        progress = self._progress
        active = [self._learners[number] for number in self._active()]
        moving = [learner for learner in active if changes_within_epochs(learner.spec.recipe)]
        self._set_rates(active)
        if not progress.iteration:
            for learner in active:
                learner.begin_epoch()
        batches = self._source.epoch(self._batch_size, seed=self._seed, epoch=progress.epoch)
        for features in islice(batches, progress.iteration, self._length):
            if self._should_stop():
                self._interrupt()
            self._set_rates(moving)
            for learner in active:
                learner.step(features)
            progress.iteration += 1
            self._look()

    def _look(self) -> None:
        """Do what is done every so many steps."""
        done = self._progress.epoch * self._length + self._progress.iteration
        if self._every and done % self._every == 0:
            self._measure_all(done)
        if time.monotonic() - self._saved > self._checkpoint_seconds:
            self._save()

    def _close_epoch(self) -> None:
        """Add a row for each stitch, and remember which diverged."""
        progress = self._progress
        for number in self._active():
            learner = self._learners[number]
            lr = self._lr(learner)
            try:
                learner.check(epoch=progress.epoch, lr=lr)
            except TrainingError as error:
                progress.failures[str(number)] = str(error)
                continue
            means = learner.means()
            row: Row = {"stitch": number, "table": _EPOCHS, "epoch": progress.epoch + 1, "lr": lr, "loss": means.loss}
            row |= {"target_loss": means.target_loss, "penalty": means.penalty, "batch_cka": means.batch_cka}
            progress.rows.append(row)
        progress.epoch, progress.iteration = progress.epoch + 1, 0
        self._on_epoch(progress.epoch, self._epochs)

    def _measure_all(self, iteration: int) -> None:
        if not self._every:
            return
        for number in self._active():
            row: Row = {"stitch": number, "table": _ITERATIONS, "iteration": iteration}
            self._progress.rows.append(row | dict(self._measure(number)))

    def _set_rates(self, learners: Sequence[StitchLearner]) -> None:
        for learner in learners:
            epoch, iteration = self._progress.epoch, self._progress.iteration
            learner.set_rates(rates(learner.spec.recipe, epoch, iteration, length=self._length))

    def _lr(self, learner: StitchLearner) -> float:
        return rates(learner.spec.recipe, self._progress.epoch, length=self._length).lr

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self._folder is None:
            return
        tensors: Weights = {}
        for number, learner in enumerate(self._learners):
            tensors |= {f"{number}/{name}": tensor for name, tensor in learner.tensors().items()}
        self._folder.save(self._progress, tensors)

    def _interrupt(self) -> None:
        self._save()
        rest = "the same command continues it" if self._folder else "without a resume folder nothing of it is kept"
        raise Interrupted(f"Training of stitches was stopped in epoch {self._progress.epoch + 1}; {rest}.")
