"""From the scores at every point of a line to tables, heights and the result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weightscape.landscape.heights import excess, height, mean_and_stderr
from weightscape.landscape.result import LINE_COLUMNS, Barrier
from weightscape.landscape.scores import Scores
from weightscape.landscape.settings import BatchNorm

if TYPE_CHECKING:
    from weightscape.results import Table


@dataclass(frozen=True)
class Line:
    """The scores at every point of one line."""

    positions: tuple[float, ...]
    scores: tuple[Scores, ...]

    def losses(self) -> Tensor:
        """Return the loss of every sample at every point ``(points, n)``."""
        return torch.stack([point.losses for point in self.scores])

    def mistakes(self) -> Tensor | None:
        """Return 1 for every mistake at every point ``(points, n)``; None where the targets are no classes."""
        found = [point.mistakes for point in self.scores]
        return None if any(item is None for item in found) else torch.stack([item.double() for item in found])  # type: ignore[union-attr]


def as_result(
    lines: dict[str, Line],
    *,
    given: tuple[Scores, Scores],
    distances: dict[str, float],
    bn: BatchNorm,
    recalibrated_on: str,
) -> Barrier:
    """Return the result of measured lines; the last one is the one asked for."""
    import pandas

    rows: list[dict[str, Any]] = []
    for name, line in lines.items():
        measures = {"loss": line.losses(), "error": line.mistakes()}
        rows += [
            {"path": name, "measure": measure, **height(line.positions, values).metrics()}
            for measure, values in measures.items()
            if values is not None
        ]
    heights = {(row["path"], row["measure"]): row for row in rows}
    asked = list(lines)[-1]
    loss, error = heights[asked, "loss"], heights.get((asked, "error"), {})
    direct_loss, direct_error = heights["direct", "loss"], heights.get(("direct", "error"), {})
    compared = len(lines) > 1
    return Barrier(
        line=pandas.concat([_table(name, line) for name, line in lines.items()], ignore_index=True),
        heights=pandas.DataFrame(rows),
        loss_barrier=loss["barrier"],
        loss_barrier_stderr=loss["stderr"],
        loss_barrier_position=loss["position"],
        error_barrier=error.get("barrier"),
        error_barrier_stderr=error.get("stderr"),
        error_barrier_position=error.get("position"),
        direct_loss_barrier=direct_loss["barrier"] if compared else None,
        direct_error_barrier=direct_error.get("barrier") if compared else None,
        given_start_loss=float(given[0].losses.mean()),
        given_end_loss=float(given[1].losses.mean()),
        distance=distances[asked],
        direct_distance=distances["direct"] if compared else None,
        count=len(given[0].losses),
        points=len(lines[asked].positions),
        bn=bn,
        recalibrated_on=recalibrated_on,
    )


def _table(name: str, line: Line) -> Table:
    import pandas

    losses, mistakes = line.losses(), line.mistakes()
    nothing = torch.full((len(line.positions), 1), math.nan, dtype=torch.float64)
    errors = nothing if mistakes is None else mistakes
    error, error_stderr = mean_and_stderr(errors)
    above = nothing if mistakes is None else excess(line.positions, errors)
    loss, loss_stderr = mean_and_stderr(losses)
    columns = (
        [name] * len(line.positions),
        line.positions,
        loss,
        loss_stderr,
        1 - error,
        error_stderr,
        *_rounded(excess(line.positions, losses)),
        *_rounded(above),
        [losses.shape[1]] * len(line.positions),
    )
    values = [column.tolist() if isinstance(column, Tensor) else list(column) for column in columns]
    return pandas.DataFrame(dict(zip(LINE_COLUMNS, values, strict=True)))


def _rounded(above: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard error of heights, those that are 0 but for rounding as 0."""
    mean, stderr = mean_and_stderr(above)
    return mean.where(mean.abs() > 1e-14, 0.0), stderr
