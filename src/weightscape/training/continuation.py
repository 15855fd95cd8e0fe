"""Going on from a shorter run: what is kept for it, when it may be done, and what is read back.

A run of 20 epochs begins with the 10 epochs of a run that is equal in all but its length, provided that nothing in
these 10 depends on the length: constant and multi-step schedules, warm-up and early stopping do not, a cosine does. The
weights are in the trajectory of the shorter run, its table of epochs is complete, the order of the data and the noise
of an epoch are functions of the seed; what is missing is the state of the optimiser, which is kept beside.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from weightscape.earlier import Earlier
from weightscape.errors import StoreError, TrainingError
from weightscape.step import Step
from weightscape.training.recipe import Keep, Recipe
from weightscape.training.schedules import depends_on_length

if TYPE_CHECKING:
    from weightscape.results import Table
    from weightscape.training.learner import Learner
    from weightscape.weights.algebra import Weights
    from weightscape.weights.trajectory import Trajectory

_LOG = logging.getLogger(__name__)
_EPOCH = "epoch"
_STDERR = "test-stderr"
_OPTIMIZER = "optimizer/"


class EarlierRun(Protocol):
    """What a longer run takes of a shorter one; a :class:`~weightscape.training.result.TrainResult` has it."""

    @property
    def trajectory(self) -> Trajectory:
        """Its snapshots, that of the last epoch among them."""

    @property
    def epochs(self) -> Table:
        """Its table of epochs."""

    @property
    def best(self) -> Weights:
        """Its best weights."""

    @property
    def state(self) -> Weights:
        """The state of its optimiser at the end; empty if it cannot be continued."""


@dataclass(frozen=True)
class OpenedRun:
    """An earlier run whose artefacts have been read."""

    trajectory: Trajectory
    epochs: Table
    best: Weights
    state: Weights


def open_earlier(earlier: Earlier | None) -> OpenedRun | None:
    """Read what is needed of an earlier result; None, with a warning, if it cannot be read."""
    if earlier is None:
        return None
    try:
        return OpenedRun(**{field.name: earlier.artefact(field.name) for field in fields(OpenedRun)})
    except StoreError as error:
        _LOG.warning("A shorter run is not continued: %s", error)
        return None


def family_of(settings: Any) -> str | None:
    """Return what runs have in common of which the longer can go on from the shorter; None if none can.

    Args:
        settings: Settings of the operation ``train``.

    Raises:
        ModelError: If a schedule of the user's own cannot be imported.
    """
    if depends_on_length(settings.recipe):
        return None
    rest = settings.model_dump(mode="json", exclude={"keep": True, "recipe": {"epochs"}})
    return json.dumps(rest, sort_keys=True)


def done_by(settings: Any, shorter: Any) -> int | None:
    """Return how many epochs of a run another run of its family has done, or None if it lacks what is needed.

    Args:
        settings: Settings of the operation ``train``.
        shorter: Those of the other run.
    """
    epochs: int = shorter.recipe.epochs
    if not 0 < epochs < settings.recipe.epochs or not _holds(settings.keep, shorter.keep, epochs):
        return None
    return epochs


def _holds(keep: Keep, shorter: Keep, epochs: int) -> bool:
    """Return whether a run that keeps `shorter` has its last weights and all that a longer run keeps up to there."""
    if keep == "ends":
        wanted = {Step()}
    elif keep == "epochs":
        wanted = {Step(epoch) for epoch in range(epochs + 1)}
    else:
        # How many iterations an epoch has is not known here: a step such as 500it may lie in the shorter run.
        wanted = {step for step in keep if step.epoch < epochs or step == Step(epochs)}
    wanted = wanted | {Step(epochs)}
    if shorter == "ends":
        return wanted <= {Step(), Step(epochs)}
    if shorter == "epochs":
        return not any(step.iteration for step in wanted)
    return wanted <= set(shorter)


def state_to_keep(recipe: Recipe, learner: Learner, *, epochs: int, test_stderr: float) -> Weights:
    """Return what is kept with the result of a run so that a longer one can go on from it; empty if none can."""
    if depends_on_length(recipe):
        return {}
    import torch

    state = {_OPTIMIZER + name: tensor for name, tensor in learner.optimizer_state().items()}
    facts = {_EPOCH: torch.tensor(epochs), _STDERR: torch.tensor(test_stderr, dtype=torch.float64)}
    return facts | state


def epochs_of(earlier: EarlierRun) -> int:
    """Return the number of epochs that an earlier run has done.

    Raises:
        TrainingError: If it cannot be continued.
    """
    state = earlier.state
    if _EPOCH not in state:
        raise TrainingError(
            "The earlier run cannot be continued: no state was kept with it, because its schedule depends on the "
            "length of the run or it was trained in a stack. Train from the start."
        )
    return int(state[_EPOCH])


def test_stderr_of(earlier: EarlierRun) -> float:
    """Return the standard error of the test accuracy at the end of an earlier run."""
    return float(earlier.state[_STDERR])


def state_of(earlier: EarlierRun) -> Weights:
    """Return the state of the optimiser at the end of an earlier run."""
    return {
        name.removeprefix(_OPTIMIZER): tensor for name, tensor in earlier.state.items() if name.startswith(_OPTIMIZER)
    }


def rows_of(earlier: EarlierRun) -> list[dict[str, float | int | None]]:
    """Return the rows of an earlier run's table of epochs, as a run collects them."""
    return [
        {
            str(name): int(value) if name == "epoch" else None if math.isnan(value) else float(value)
            for name, value in row.items()
        }
        for row in earlier.epochs.to_dict("records")
    ]


def check_earlier(
    earlier: EarlierRun, start: Weights, *, kept: Mapping[int, Step], length: int, recipe: Recipe
) -> None:
    """Check that a run can go on from an earlier one.

    Args:
        earlier: The earlier run.
        start: The initial weights of this run.
        kept: The steps that this run keeps, by the number of iterations done.
        length: Iterations in an epoch.
        recipe: The recipe of this run.

    Raises:
        TrainingError: If it cannot, saying why.
    """
    from weightscape.weights.digest import digest

    epochs, trajectory = epochs_of(earlier), earlier.trajectory
    needed = [Step(epochs), *(step for total, step in kept.items() if total <= epochs * length)]
    missing = [step for step in needed if step not in trajectory.steps]
    why = ""
    if depends_on_length(recipe):
        why = "the schedule depends on the number of epochs"
    elif epochs > recipe.epochs:
        why = f"it has done {epochs} epochs, more than {recipe.epochs}"
    elif trajectory.iterations_per_epoch not in {None, length}:
        why = f"its epochs have {trajectory.iterations_per_epoch} iterations, not {length}"
    elif missing:
        why = f"it did not keep {', '.join(map(str, missing))}"
    elif Step() in trajectory.steps and digest(trajectory.at(Step())) != digest(start):
        why = "it began with other weights"
    if why:
        raise TrainingError(f"The earlier run cannot be continued: {why}. Train from the start.")
