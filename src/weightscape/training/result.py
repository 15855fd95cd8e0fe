"""What training and evaluation return. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weightscape.results import Result

if TYPE_CHECKING:
    from weightscape.results import Table
    from weightscape.weights.trajectory import Trajectory


@dataclass(frozen=True)
class Evaluation(Result):
    """How well a model does on a split.

    Attributes:
        loss: Mean cross-entropy in nats.
        accuracy: Share of correctly classified images, in [0, 1].
        accuracy_stderr: Binomial standard error of `accuracy`, of the sampling of images alone.
        count: Images evaluated.
    """

    loss: float
    accuracy: float
    accuracy_stderr: float
    count: int


@dataclass(frozen=True)
class TrainResult(Result):
    """One training run.

    Accuracies are shares in [0, 1], losses mean cross-entropies in nats. Training loss and accuracy are *moving*: each
    sample counts at the weights that saw it, in training mode and after augmentation, so they lag behind an evaluation.

    Attributes:
        trajectory: The kept snapshots, on the CPU.
        epochs: One row per epoch with ``epoch``, ``lr``, ``train_loss``, ``train_accuracy``, ``validation_loss``,
            ``validation_accuracy``, ``test_loss``, ``test_accuracy``. Row 0 is before training (its first three are
            missing); row e is after e epochs, with the learning rate of the e-th.
        validation_accuracy: After the last epoch.
        validation_loss: After the last epoch.
        test_accuracy: After the last epoch.
        test_accuracy_stderr: Binomial standard error of `test_accuracy`, of the sampling of test images alone.
        test_loss: After the last epoch.
        train_accuracy: Moving, of the last epoch; missing for a run of 0 epochs.
        train_loss: Moving, of the last epoch; missing for a run of 0 epochs.
        best_epoch: The first epoch with the highest *validation* accuracy.
        best_validation_accuracy: At `best_epoch`; biased upwards, as any maximum.
        best_test_accuracy: Test accuracy at `best_epoch`, which was chosen without looking at the test split.
        iterations: Steps taken.
        train_seconds: Time spent training and evaluating, over all interruptions.
    """

    trajectory: Trajectory
    epochs: Table
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
    train_seconds: float


def summarise(
    rows: Sequence[Mapping[str, float | int | None]],
    trajectory: Trajectory,
    *,
    test_count: int,
    iterations: int,
    seconds: float,
) -> TrainResult:
    """Return the result of a run from its rows, one per epoch from 0 on."""
    import pandas

    table = pandas.DataFrame(list(rows)).astype(float).astype({"epoch": int})
    last, best = table.iloc[-1], table.iloc[int(table["validation_accuracy"].to_numpy().argmax())]
    test_accuracy = float(last["test_accuracy"])
    return TrainResult(
        trajectory=trajectory,
        epochs=table,
        validation_accuracy=float(last["validation_accuracy"]),
        validation_loss=float(last["validation_loss"]),
        test_accuracy=test_accuracy,
        test_accuracy_stderr=math.sqrt(test_accuracy * (1 - test_accuracy) / test_count),
        test_loss=float(last["test_loss"]),
        train_accuracy=rows[-1]["train_accuracy"],
        train_loss=rows[-1]["train_loss"],
        best_epoch=int(best["epoch"]),
        best_validation_accuracy=float(best["validation_accuracy"]),
        best_test_accuracy=float(best["test_accuracy"]),
        iterations=iterations,
        train_seconds=seconds,
    )
