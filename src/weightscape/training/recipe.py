"""How a network is trained. Loads no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from weightscape.step import Step
from weightscape.training.loss_settings import BinaryCrossEntropy, CrossEntropy, Loss, OwnLoss
from weightscape.training.optimizer_settings import Adam, AdamW, Optimizer, ParameterGroup, Sgd
from weightscape.training.schedule_settings import (
    Constant,
    Cosine,
    MultiStep,
    OneCycle,
    OwnSchedule,
    Schedule,
    Thirds,
    WarmingUp,
    WarmUp,
)
from weightscape.training.settings import Settings

__all__ = [
    "Adam",
    "AdamW",
    "BestEpoch",
    "BinaryCrossEntropy",
    "Constant",
    "Cosine",
    "CrossEntropy",
    "EarlyStopping",
    "Keep",
    "Loss",
    "MultiStep",
    "OneCycle",
    "Optimizer",
    "OwnLoss",
    "OwnSchedule",
    "ParameterGroup",
    "Recipe",
    "Schedule",
    "Sgd",
    "Thirds",
    "WarmUp",
]


class BestEpoch(Settings):
    """Which epoch of a run is its best: always by the validation split, never by the test split.

    Attributes:
        by: The highest validation accuracy, or the lowest validation loss; the first epoch of several that tie.
        first_epoch: The first that is considered; 0 is the state before training.
    """

    by: Literal["accuracy", "loss"] = "accuracy"
    first_epoch: NonNegativeInt = 0


class EarlyStopping(Settings):
    """Stop when the validation measure that chooses the best epoch has not improved for a while.

    Attributes:
        patience: The run ends after this many epochs in a row without an improvement.
        min_delta: What counts as an improvement must exceed the best so far by more than this (accuracies in [0, 1]).
    """

    patience: PositiveInt
    min_delta: NonNegativeFloat = 0.0


def _by(value: Any) -> Any:
    return {"by": value} if isinstance(value, str) else value


def _patience(value: Any) -> Any:
    return {"patience": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Recipe(Settings):
    """Everything about a training run but the model, the data and the seeds.

    Attributes:
        epochs: Passes over the training split; at most, with early stopping.
        batch_size: Images per step.
        optimizer: Update rule.
        schedule: Learning rate along the run.
        warm_up: Rise of the learning rate at the start, e.g. ``5ep`` or ``500it``; none by default.
        loss: What is minimised.
        last_batch: Whether the smaller batch at the end of an epoch is used.
        micro_batch: Images per forward and backward pass. The gradient of a step is still that of the mean over its
            whole batch, but batch norm, where there is any, normalises each micro-batch by itself, and a loss of your
            own that returns one number is taken for the mean over its images. All at once by default.
        best: Which epoch is the best.
        early_stopping: When to stop before the last epoch; never by default. ``early_stopping: 5`` sets the patience.
    """

    epochs: NonNegativeInt = 10
    batch_size: PositiveInt = 128
    optimizer: Optimizer = Sgd(name="sgd")
    schedule: Schedule = Constant(name="constant")
    warm_up: WarmingUp | None = None
    loss: Loss = CrossEntropy(name="cross-entropy")
    last_batch: Literal["kept", "dropped"] = "kept"
    micro_batch: PositiveInt | None = None
    best: Annotated[BestEpoch, BeforeValidator(_by)] = BestEpoch()
    early_stopping: Annotated[EarlyStopping, BeforeValidator(_patience)] | None = None

    @model_validator(mode="after")
    def _nesterov_keeps_its_momentum(self) -> Recipe:
        momentum = self.schedule.momentum if isinstance(self.schedule, OneCycle) else None
        if momentum and not momentum[0] and isinstance(self.optimizer, Sgd) and self.optimizer.nesterov:
            raise ValueError("nesterov needs a momentum above 0 throughout the cycle")
        return self


Keep: TypeAlias = Literal["ends", "epochs"] | tuple[Step, ...]
"""Which snapshots of a run are kept: both ends, every epoch (with initialisation), or the listed steps."""
