"""Which epoch is the best, and when to stop, as pure functions of the table of epochs. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from weightscape.training.recipe import BestEpoch, Recipe

Rows = Sequence[Mapping[str, Any]]


def best_epoch(rows: Rows, best: BestEpoch) -> int:
    """Return the epoch with the highest validation accuracy or the lowest validation loss, the first of equals.

    Before the first epoch that counts, it is the latest. The test split is never looked at.

    Args:
        rows: One row per epoch, from 0 on.
        best: What counts.
    """
    values = _gains(rows, best)
    first = min(best.first_epoch, len(values) - 1)
    return max(range(first, len(values)), key=lambda epoch: (values[epoch], -epoch))


def has_stalled(rows: Rows, recipe: Recipe) -> bool:
    """Return whether early stopping ends the run after the last of these rows."""
    stopping = recipe.early_stopping
    if stopping is None:
        return False
    values = _gains(rows, recipe.best)
    best, improved = -float("inf"), len(values) - 1
    for epoch in range(recipe.best.first_epoch, len(values)):
        if epoch == recipe.best.first_epoch or values[epoch] > best + stopping.min_delta:
            best, improved = values[epoch], epoch
    return len(values) - 1 - improved >= stopping.patience


def _gains(rows: Rows, best: BestEpoch) -> list[float]:
    """Return by epoch what is the better the higher it is; what is no number is the worst."""
    sign, name = (1, "validation_accuracy") if best.by == "accuracy" else (-1, "validation_loss")
    gains = [sign * float(row[name]) for row in rows]
    return [-math.inf if math.isnan(gain) else gain for gain in gains]
