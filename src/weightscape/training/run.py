"""One training run, which can be stopped or killed at any moment and continued to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn

from weightscape.training.continuation import EarlierRun
from weightscape.training.noise import private_noise
from weightscape.training.ongoing import OngoingRun
from weightscape.training.recipe import Keep, Recipe
from weightscape.training.result import TrainResult

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset

OnEpoch: TypeAlias = Callable[[int, int, Mapping[str, float | int | None]], None]


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
    run = OngoingRun(
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
        while not run.is_over:
            run.train_epoch()
            run.close_epoch()
            _report(run, on_epoch)
    return run.result()


def _report(run: OngoingRun, on_epoch: OnEpoch | None) -> None:
    if on_epoch is not None and run.recipe.epochs:
        on_epoch(run.progress.epoch, run.recipe.epochs, dict(run.progress.rows[-1]))
