"""Which snapshots of a run are kept. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from weightscape.errors import DataError, TrainingError
from weightscape.step import Step
from weightscape.training.recipe import Keep, Recipe


def epoch_length(images: int, recipe: Recipe) -> int:
    """Return the number of iterations in an epoch.

    Args:
        images: Images in the training split.
        recipe: Its batch size, and whether the last, smaller batch is used.

    Raises:
        DataError: If there is no batch.
    """
    if not images:
        raise DataError("Expected at least one image to train on, received an empty training split.")
    if recipe.last_batch == "kept":
        return math.ceil(images / recipe.batch_size)
    if images < recipe.batch_size:
        raise DataError(
            f"Expected at least one full batch of {recipe.batch_size}, received {images} training images, and the "
            "recipe says 'last_batch: dropped'. Use smaller batches, or keep the last one."
        )
    return images // recipe.batch_size


def steps_of(settings: Mapping[str, Any]) -> list[str] | None:
    """Return the steps that a run will keep, as text, where its settings alone say it.

    Steps in iterations depend on the size of the data, and the end of a run on early stopping: None then.

    >>> steps_of({"keep": "ends", "recipe": {"epochs": 3}}), steps_of({"keep": ["0ep", "1ep"], "recipe": {"epochs": 3}})
    (['0ep', '3ep'], ['0ep', '1ep'])

    Args:
        settings: Settings of a run as plain data.
    """
    keep, recipe = settings["keep"], settings["recipe"]
    if recipe.get("early_stopping") is not None:
        return None
    if isinstance(keep, str):
        epochs = range(recipe["epochs"] + 1) if keep == "epochs" else (0, recipe["epochs"])
        return [f"{epoch}ep" for epoch in epochs]
    return list(keep) if all(text.endswith("ep") for text in keep) else None


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
