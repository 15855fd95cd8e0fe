"""Which snapshots of a run are kept. Loads no torch."""

from __future__ import annotations

from weightscape.errors import TrainingError
from weightscape.step import Step
from weightscape.training.recipe import Keep


def kept_steps(keep: Keep, *, epochs: int, iterations: int) -> dict[int, Step]:
    """Return the steps at which weights are kept, by the number of iterations done since initialisation.

    Steps are normalised to the length of an epoch, so that their order is the order of time: with 430 iterations in an
    epoch, ``500it`` is ``1ep70it``.

    Args:
        keep: ``"ends"``, ``"epochs"`` or steps.
        epochs: Epochs of the run.
        iterations: Iterations in one epoch.

    Raises:
        TrainingError: If there is no step, or one that the run never reaches.
    """
    if keep == "ends":
        steps = [Step(), Step(epochs)]
    elif keep == "epochs":
        steps = [Step(epoch) for epoch in range(epochs + 1)]
    else:
        steps = [Step.parse(step) for step in keep]
    if not steps:
        raise TrainingError("Expected at least one step to keep, received none. 'keep: ends' keeps both ends of a run.")
    beyond = [step for step in steps if step.total(iterations) > epochs * iterations]
    if beyond:
        raise TrainingError(
            f"The run ends at {Step(epochs)} ({epochs * iterations} iterations, {iterations} in an epoch), "
            f"but 'keep' asks for {', '.join(map(str, beyond))}. Train for more epochs or keep earlier steps."
        )
    return {step.total(iterations): step.normalised(iterations) for step in sorted(steps)}
