"""Learning rates along a run: schedules and warm-up. Loads no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from weightscape.step import Step
from weightscape.training.settings import OWN, OwnFunction, Settings, from_name, tag_among

_Momentum: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


class Constant(Settings):
    """The learning rate of the optimiser, throughout."""

    name: Literal["constant"]


class Cosine(Settings):
    """``lr * (1 + cos(pi * e / E)) / 2`` during epoch e = 0, 1, ... of E (SGDR without restarts, arXiv 1608.03983).

    Attributes:
        every: How often the rate changes. With ``iteration``, e and E count iterations.
    """

    name: Literal["cosine"]
    every: Literal["epoch", "iteration"] = "epoch"


class MultiStep(Settings):
    """The learning rate is multiplied by `factor` at the start of each epoch in `milestones`, counted from 0."""

    name: Literal["multistep"]
    milestones: tuple[PositiveInt, ...]
    factor: PositiveFloat = 0.1


class Thirds(Settings):
    """The learning rate is multiplied by `factor` when one third and when two thirds of the epochs are done.

    The schedule of arXiv 2110.14633: with 300 epochs, at the start of epochs 100 and 200, counted from 0.
    """

    name: Literal["thirds"]
    factor: PositiveFloat = 0.1


class OneCycle(Settings):
    """Up to the learning rate of the optimiser and down again, at every step (arXiv 1708.07120).

    As ``torch.optim.lr_scheduler.OneCycleLR`` over all steps of the run, but for the momentum, which that scheduler
    moves without being asked: here it is the optimiser's unless `momentum` says otherwise.

    Attributes:
        rise: Share of the run during which the rate rises.
        start_divisor: The first rate is the highest divided by this.
        end_divisor: The last rate is the first divided by this.
        anneal: Form of rise and fall.
        phases: 3 falls back to the first rate for as long as it rose, and then to the last.
        momentum: Lowest and highest momentum (the first beta of adam and adamw), the lowest at the highest rate, such
            as PyTorch's [0.85, 0.95].
    """

    name: Literal["one-cycle"]
    rise: float = Field(default=0.3, gt=0, lt=1)
    start_divisor: float = Field(default=25.0, ge=1, allow_inf_nan=False)
    end_divisor: float = Field(default=1e4, ge=1, allow_inf_nan=False)
    anneal: Literal["cosine", "linear"] = "cosine"
    phases: Literal[2, 3] = 2
    momentum: tuple[_Momentum, _Momentum] | None = None

    @model_validator(mode="after")
    def _is_in_order(self) -> OneCycle:
        if self.phases == 3 and self.rise > 0.5:
            raise ValueError("with 3 phases the rise is at most 0.5, since the fall after it is as long")
        if self.momentum and self.momentum[0] > self.momentum[1]:
            raise ValueError("momentum is written as [lowest, highest]")
        return self


class OwnSchedule(OwnFunction):
    """A function of your own that returns the factor on the learning rate, asked before every step.

    It gets those of ``epoch``, ``iteration`` (both counted from 0, the latter from the start of the run),
    ``iterations_per_epoch``, ``epochs`` and ``iterations`` (of the whole run) that it has parameters for, and the
    arguments written beside its name.
    """


_NAMES = ("constant", "cosine", "multistep", "thirds", "one-cycle")
Schedule: TypeAlias = Annotated[
    Annotated[
        Annotated[Constant, Tag("constant")]
        | Annotated[Cosine, Tag("cosine")]
        | Annotated[MultiStep, Tag("multistep")]
        | Annotated[Thirds, Tag("thirds")]
        | Annotated[OneCycle, Tag("one-cycle")]
        | Annotated[OwnSchedule, Tag(OWN)],
        Discriminator(tag_among(_NAMES)),
    ],
    BeforeValidator(from_name),
]


class WarmUp(Settings):
    """The learning rate rises linearly to that of the optimiser: ``lr * (k + 1) / w`` during step k = 0, 1, ... of w.

    Attributes:
        length: How long, such as ``5ep`` or ``500it``.
        every: How often the rate changes; ``epoch`` for whole epochs and ``iteration`` for others by default.
        schedule: Whether the schedule ``runs`` meanwhile, so that it is joined where it has come to, or ``waits``, and
            is squeezed into the rest of the run.
    """

    length: Step
    every: Literal["epoch", "iteration"] | None = None
    schedule: Literal["runs", "waits"] = "runs"

    @property
    def by_epoch(self) -> bool:
        """Whether the rate is the same throughout an epoch."""
        return (self.every or ("iteration" if self.length.iteration else "epoch")) == "epoch"

    @model_validator(mode="after")
    def _has_whole_epochs(self) -> WarmUp:
        if self.by_epoch and self.length.iteration:
            raise ValueError("'every: epoch' needs a length in whole epochs, such as 5ep")
        return self


def _from_length(value: Any) -> Any:
    return {"length": value} if isinstance(value, str) else value


WarmingUp: TypeAlias = Annotated[WarmUp, BeforeValidator(_from_length)]
