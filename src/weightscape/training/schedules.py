"""Learning rates as pure functions of the epoch. Loads no torch."""

from __future__ import annotations

import math

from weightscape.training.recipe import Constant, Cosine, Recipe


def schedule_factor(recipe: Recipe, epoch: int) -> float:
    """Return what the learning rate is multiplied by during `epoch`, counted from 0.

    The cosine never reaches 0: its last epoch has the factor ``(1 + cos(pi (E - 1) / E)) / 2``, as in the published
    runs of arXiv 2305.14122 (SGDR without restarts, arXiv 1608.03983).

    >>> from weightscape.training.recipe import Recipe
    >>> [round(schedule_factor(Recipe(epochs=4, schedule="cosine"), epoch), 3) for epoch in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    schedule = recipe.schedule
    if isinstance(schedule, Constant):
        return 1.0
    if isinstance(schedule, Cosine):
        return 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))
    return float(schedule.factor ** sum(milestone <= epoch for milestone in schedule.milestones))


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Return the learning rate of all steps of `epoch`, counted from 0."""
    return recipe.optimizer.lr * schedule_factor(recipe, epoch)
