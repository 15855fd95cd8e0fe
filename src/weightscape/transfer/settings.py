"""The choices of a transfer. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from weightscape.errors import TrainingError, did_you_mean

Method: TypeAlias = Literal["gmt", "fgmt", "oracle", "naive"]
Schedule: TypeAlias = Literal["uniform", "cosine"]
Path: TypeAlias = Literal["linear", "actual"]
StartFrom: TypeAlias = Literal["identity", "previous"]
BatchNorm: TypeAlias = Literal["none", "recalibrate"]
Control: TypeAlias = Literal["source", "none"]

_CHOICES: dict[str, Any] = {
    "method": Method,
    "schedule": Schedule,
    "trajectory": Path,
    "start_from": StartFrom,
    "batch_norm": BatchNorm,
    "control": Control,
}
_AT_LEAST = {"batches": 1, "batch_size": 1, "batch_norm_batches": 1, "heldout_batches": 0}
DEFAULT_STEPS = 30
"""Steps along a linear trajectory when nothing else is asked for (conv8 on CIFAR-10 in arXiv 2305.14122)."""


@dataclass(frozen=True)
class Settings:
    """All choices of one transfer, as :func:`~weightscape.transfer.trajectory.transfer_trajectory` explains them.

    Raises:
        TrainingError: Listing every value that is not allowed.
    """

    method: Method = "fgmt"
    steps: int | None = None
    schedule: Schedule = "uniform"
    trajectory: Path = "linear"
    batches: int = 1
    batch_size: int = 128
    seed: int = 0
    start_from: StartFrom = "previous"
    batch_norm: BatchNorm = "recalibrate"
    batch_norm_batches: int = 20
    heldout_batches: int = 1
    control: Control = "source"
    compat: bool = False

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {getattr(self, name)!r}. {did_you_mean(str(getattr(self, name)), get_args(choices))}"
            for name, choices in _CHOICES.items()
            if getattr(self, name) not in get_args(choices)
        ]
        wrong += [
            f"{name} is {getattr(self, name)}, expected at least {least}."
            for name, least in _AT_LEAST.items()
            if getattr(self, name) < least
        ]
        if self.steps is not None and self.steps < 1:
            wrong.append(f"steps is {self.steps}, expected at least 1.")
        if wrong:
            raise TrainingError("The transfer cannot start as asked: " + " ".join(wrong))

    def count_steps(self, stretches: int) -> int:
        """Return the number of steps; by default 30 on a linear trajectory, one per stretch of an actual one."""
        return self.steps or (DEFAULT_STEPS if self.trajectory == "linear" else stretches)
