"""What training and evaluation return. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weightscape.results import Result

if TYPE_CHECKING:
    from weightscape.results import Table
    from weightscape.training.recipe import Recipe
    from weightscape.weights.algebra import Weights
    from weightscape.weights.trajectory import Trajectory


@dataclass(frozen=True)
class Evaluation(Result):
    """How well a model does on a split.

    Attributes:
        loss: Mean over the images, in nats for the cross-entropy and the binary cross-entropy.
        accuracy: Share of correctly classified images, in [0, 1]; of all labels of all images where they have several.
        accuracy_stderr: Standard error of `accuracy`, of the sampling of images alone; binomial for classes.
        count: Images evaluated.
    """

    loss: float
    accuracy: float
    accuracy_stderr: float
    count: int


@dataclass(frozen=True)
class TrainResult(Result):
    """One training run.

    Accuracies are shares in [0, 1], losses means over images, in nats for the bundled losses; those of validation and
    test are without label smoothing. Training loss and accuracy are *moving*: each
    sample counts at the weights that saw it, in training mode and after augmentation, so they lag behind an evaluation.

    Attributes:
        trajectory: The kept snapshots, on the CPU. A run that stopped early has its last weights in the place of those
            of the last epoch, and none of the steps it never reached.
        epochs: One row per epoch with ``epoch``, ``lr``, ``train_loss``, ``train_accuracy``, ``validation_loss``,
            ``validation_accuracy``, ``test_loss``, ``test_accuracy``. Row 0 is before training (its first three are
            missing); row e is after e epochs, with the learning rate of the first step of the e-th.
        best: The weights at `best_epoch`.
        state: What a longer run needs besides the last weights to go on from here (:mod:`..continuation`); empty where
            the learning rates of the first epochs depend on the length of the run.
        validation_accuracy: After the last epoch.
        validation_loss: After the last epoch.
        test_accuracy: After the last epoch.
        test_accuracy_stderr: Standard error of `test_accuracy`, of the sampling of test images alone.
        test_loss: After the last epoch.
        train_accuracy: Moving, of the last epoch; missing for a run of 0 epochs.
        train_loss: Moving, of the last epoch; missing for a run of 0 epochs.
        best_epoch: The first epoch with the highest *validation* accuracy, or the lowest loss if the recipe says so.
        best_validation_accuracy: At `best_epoch`; biased upwards, as any maximum.
        best_test_accuracy: Test accuracy at `best_epoch`, which was chosen without looking at the test split.
        iterations: Steps taken.
        stopped_early: Whether early stopping ended the run before its last epoch.
        micro_batches: Into how many parts steps were divided because memory did not suffice; 1 if it always did.
        train_seconds: Time spent training and evaluating, over all interruptions.
    """

    trajectory: Trajectory
    epochs: Table
    best: Weights
    state: Weights
    validation_accuracy: float
    validation_loss: float
    test_accuracy: float
    test_accuracy_stderr: float
    test_loss: float
    train_accuracy: float | None
    train_loss: float | None
    best_epoch: int
    best_validation_accuracy: float
    best_test_accuracy: float
    iterations: int
    stopped_early: bool
    micro_batches: int
    train_seconds: float


def summarise(
    rows: Sequence[Mapping[str, float | int | None]],
    trajectory: Trajectory,
    *,
    recipe: Recipe,
    best: Weights,
    state: Weights,
    test_stderr: float,
    iterations: int,
    micro_batches: int = 1,
    seconds: float,
) -> TrainResult:
    """Return the result of a run from its rows, one per epoch from 0 on."""
    import pandas

    from weightscape.training.selection import best_epoch

    table = pandas.DataFrame(list(rows)).astype(float).astype({"epoch": int})
    last, chosen = table.iloc[-1], table.iloc[best_epoch(rows, recipe.best)]
    return TrainResult(
        trajectory=trajectory,
        epochs=table,
        best=best,
        state=state,
        validation_accuracy=float(last["validation_accuracy"]),
        validation_loss=float(last["validation_loss"]),
        test_accuracy=float(last["test_accuracy"]),
        test_accuracy_stderr=test_stderr,
        test_loss=float(last["test_loss"]),
        train_accuracy=rows[-1]["train_accuracy"],
        train_loss=rows[-1]["train_loss"],
        best_epoch=int(chosen["epoch"]),
        best_validation_accuracy=float(chosen["validation_accuracy"]),
        best_test_accuracy=float(chosen["test_accuracy"]),
        iterations=iterations,
        stopped_early=len(rows) - 1 < recipe.epochs,
        micro_batches=micro_batches,
        train_seconds=seconds,
    )


def binomial_stderr(accuracy: float, count: int) -> float:
    """Return the standard error of a share of right answers, of the sampling of `count` images alone."""
    return math.sqrt(accuracy * (1 - accuracy) / count)
