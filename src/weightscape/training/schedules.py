"""Learning rate and momentum as pure functions of the position in a run. Loads no torch.

Nothing here has a state, so that a run continues at any step with exactly the rates it would have had, and nothing can
be stepped once too often or too rarely.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weightscape.errors import TrainingError, did_you_mean
from weightscape.source import import_dotted
from weightscape.training.recipe import (
    Constant,
    Cosine,
    MultiStep,
    OneCycle,
    OwnSchedule,
    Recipe,
    Schedule,
    Thirds,
    WarmUp,
)

_OFFERED = ("epoch", "iteration", "iterations_per_epoch", "epochs", "iterations")
_OF_THE_LENGTH = ("epochs", "iterations")


@dataclass(frozen=True)
class Rates:
    """What a step is taken with.

    Attributes:
        lr: Learning rate of parameters without a factor of their own.
        momentum: Momentum or first beta; None for that of the optimiser.
    """

    lr: float
    momentum: float | None = None


@dataclass(frozen=True)
class _Position:
    """A step within a schedule: `iteration` of `iterations` from its start, `length` of which make an epoch."""

    iteration: int
    iterations: int
    length: int

    @property
    def epoch(self) -> int:
        return self.iteration // self.length

    @property
    def epochs(self) -> float:
        return self.iterations / self.length


def rates(recipe: Recipe, epoch: int, iteration: int = 0, *, length: int = 1) -> Rates:
    """Return what a step is taken with.

    Args:
        recipe: Its epochs, optimiser, schedule and warm-up.
        epoch: Epochs done before.
        iteration: Iterations done since.
        length: Iterations in an epoch.

    Raises:
        TrainingError: If a schedule of the user's own returns something else than a number of at least 0.
    """
    position = _Position(epoch * length + iteration, recipe.epochs * length, length)
    schedule, warm_up = recipe.schedule, recipe.warm_up
    factor = None if warm_up is None else _warm_up_factor(warm_up, position)
    if warm_up is not None and warm_up.schedule == "waits":
        pause = warm_up.length.total(length)
        position = _Position(max(0, position.iteration - pause), max(1, position.iterations - pause), length)
    momentum = _cycled_momentum(schedule, position) if isinstance(schedule, OneCycle) else None
    return Rates(recipe.optimizer.lr * (_factor(schedule, position) if factor is None else factor), momentum)


def learning_rate(recipe: Recipe, epoch: int, iteration: int = 0, *, length: int = 1) -> float:
    """Return the learning rate of a step: :func:`rates` without the momentum.

    The cosine never reaches 0: its last epoch has the factor ``(1 + cos(pi (E - 1) / E)) / 2``, as in the published
    runs of arXiv 2305.14122 (SGDR without restarts, arXiv 1608.03983).

    >>> from weightscape.training.recipe import Recipe
    >>> recipe = Recipe.model_validate({"epochs": 4, "optimizer": {"name": "sgd", "lr": 1.0}, "schedule": "cosine"})
    >>> [round(learning_rate(recipe, epoch), 3) for epoch in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    return rates(recipe, epoch, iteration, length=length).lr


def changes_within_epochs(recipe: Recipe) -> bool:
    """Return whether two steps of one epoch may have different rates."""
    schedule, warm_up = recipe.schedule, recipe.warm_up
    if isinstance(schedule, OneCycle | OwnSchedule) or (isinstance(schedule, Cosine) and schedule.every == "iteration"):
        return True
    return warm_up is not None and not warm_up.by_epoch


def depends_on_length(recipe: Recipe) -> bool:
    """Return whether the rates of the first epochs would be others if the run were longer.

    Raises:
        ModelError: If a schedule of the user's own cannot be imported.
    """
    schedule = recipe.schedule
    if isinstance(schedule, OwnSchedule):
        return bool(set(_wanted(schedule.name)) & set(_OF_THE_LENGTH))
    return not isinstance(schedule, Constant | MultiStep)


def check_schedule(recipe: Recipe) -> None:
    """Check that a schedule of the user's own can be called with its arguments, before anything is computed.

    Raises:
        ModelError: If it cannot be imported.
        TrainingError: If it takes no such argument.
    """
    if not isinstance(recipe.schedule, OwnSchedule):
        return
    name, given = recipe.schedule.name, recipe.schedule.arguments
    function = import_dotted(name)
    if not callable(function):
        raise TrainingError(f"The schedule {name} should be a function, it is {function!r}.")
    accepted = _parameters(function)
    for argument in given:
        if accepted is not None and argument not in accepted:
            raise TrainingError(
                f"The schedule {name} takes no argument {argument!r}. {did_you_mean(argument, accepted)}"
            )


def _warm_up_factor(warm_up: WarmUp, position: _Position) -> float | None:
    """Return the share of the full rate during the warm-up, and None after it."""
    done, count = position.iteration, warm_up.length.total(position.length)
    if warm_up.by_epoch:
        done, count = position.epoch, warm_up.length.epoch
    return (done + 1) / count if done < count else None


def _factor(schedule: Schedule, position: _Position) -> float:
    if isinstance(schedule, Constant):
        return 1.0
    if isinstance(schedule, Cosine):
        if schedule.every == "epoch":
            return 0.5 * (1 + math.cos(math.pi * position.epoch / position.epochs))
        return 0.5 * (1 + math.cos(math.pi * position.iteration / position.iterations))
    if isinstance(schedule, MultiStep):
        return float(schedule.factor ** sum(milestone <= position.epoch for milestone in schedule.milestones))
    if isinstance(schedule, Thirds):
        return float(schedule.factor ** sum(3 * position.epoch >= third * position.epochs for third in (1, 2)))
    if isinstance(schedule, OneCycle):
        start = 1 / schedule.start_divisor
        last = start / schedule.end_divisor
        ends = (start, 1.0, start, last) if schedule.phases == 3 else (start, 1.0, last)
        return _cycled(schedule, position, ends)
    return _own_factor(schedule, position)


def _cycled_momentum(schedule: OneCycle, position: _Position) -> float | None:
    if schedule.momentum is None:
        return None
    lowest, highest = schedule.momentum
    ends = (highest, lowest, highest, highest) if schedule.phases == 3 else (highest, lowest, highest)
    return _cycled(schedule, position, ends)


def _cycled(schedule: OneCycle, position: _Position, ends: tuple[float, ...]) -> float:
    """Return a value that goes from one of `ends` to the next in each phase; the last is reached at the last step."""
    rise = schedule.rise * position.iterations
    turns = [0.0, rise - 1, *([2 * rise - 2] if schedule.phases == 3 else []), position.iterations - 1]
    phase = 1 + sum(turn < position.iteration for turn in turns[1:-1])
    begin, end = turns[phase - 1 : phase + 1]
    share = 1.0 if end <= begin else min(1.0, (position.iteration - begin) / (end - begin))
    first, last = ends[phase - 1 : phase + 1]
    if schedule.anneal == "linear":
        return first + share * (last - first)
    return last + (first - last) / 2 * (1 + math.cos(math.pi * share))


def _own_factor(schedule: OwnSchedule, position: _Position) -> float:
    values = {
        "epoch": position.epoch,
        "iteration": position.iteration,
        "iterations_per_epoch": position.length,
        "epochs": round(position.epochs),
        "iterations": position.iterations,
    }
    offered = {name: values[name] for name in _wanted(schedule.name)}
    factor = import_dotted(schedule.name)(**{**offered, **schedule.arguments})
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 <= factor < math.inf:
        raise TrainingError(
            f"The schedule {schedule.name} should return the factor on the learning rate, a number of at least 0; it "
            f"returned {factor!r} for {offered}."
        )
    return float(factor)


@functools.lru_cache
def _wanted(name: str) -> tuple[str, ...]:
    """Return which of the offered values a user's function takes."""
    accepted = _parameters(import_dotted(name))
    return _OFFERED if accepted is None else tuple(value for value in _OFFERED if value in accepted)


def _parameters(function: Callable[..., Any]) -> set[str] | None:
    """Return the parameters that can be passed by name; None if any name is accepted."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    by_name = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    return {parameter.name for parameter in parameters if parameter.kind in by_name}
