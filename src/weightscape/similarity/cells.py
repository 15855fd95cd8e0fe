"""The values of one measure for all pairs of layers of two networks, with intervals and nulls where asked for.

A cell that has no value says why, and the others are there all the same; that no cell has one is an error, which says
of a comparison by several measures, or of several pairs, why they lack this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy
import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.intervals import IntervalMethod, interval_of
from weightscape.similarity.measure import Measure, check_options
from weightscape.similarity.nulls import shuffled_pairs

COLUMNS = ("value", "low", "high", "stderr", "null", "null_low", "null_high", "p_value")


@dataclass(frozen=True)
class Asked:
    """What is wanted beside the values.

    Attributes:
        null: Shuffles of the pairs of samples.
        intervals: How intervals are made; None for none.
        seed: Draws shuffles and subsets.
        batch: Measure batches of so many consecutive samples and take the mean; all samples at once for None.
    """

    null: int = 0
    intervals: IntervalMethod | None = None
    seed: int = 0
    batch: int | None = None


@dataclass
class Cells:
    """Values of one measure for layers of a first network (rows) and of a second (columns).

    Attributes:
        numbers: Arrays ``(rows, columns)`` by column of the table, NaN where there is no value.
        messages: Why there is no value, by place.
    """

    numbers: dict[str, numpy.ndarray]
    messages: dict[tuple[int, int], str] = field(default_factory=dict)

    @classmethod
    def empty(cls, rows: int, columns: int) -> Cells:
        """Return cells without values."""
        return cls({name: numpy.full((rows, columns), numpy.nan) for name in COLUMNS})

    def fill(self, compute: Callable[[int, int], Mapping[str, float]]) -> Cells:
        """Compute cell after cell; what cannot be computed has the error as its message.

        Raises:
            DataError: The last one, if no cell has a value.
        """
        error: DataError | None = None
        rows, columns = self.numbers["value"].shape
        for place in product(range(rows), range(columns)):
            try:
                found = compute(*place)
            except DataError as caught:
                error = caught
                self.messages[place] = str(caught)
                continue
            for name, value in found.items():
                self.numbers[name][place] = value
        if error is not None and len(self.messages) == self.numbers["value"].size:
            raise error
        return self


def cell_values(
    measure: Measure, first: Any, second: Any, *, options: Mapping[str, Any], asked: Asked
) -> dict[str, float]:
    """Return the value of one pair of layers, given as geometries or matrices, with what is wanted beside it."""
    found: dict[str, float] = {}
    if asked.null and not measure.needs_labels:
        drawn = shuffled_pairs(measure, first, second, draws=asked.null, seed=asked.seed, **options)
        found |= {"value": drawn.value, "null": drawn.mean, "null_low": drawn.low, "null_high": drawn.high}
        found["p_value"] = drawn.p_value
    if asked.intervals is not None:
        ends = interval_of(measure, first, second, method=asked.intervals, seed=asked.seed, **options)
        found |= {"value": ends.value, "low": ends.low, "high": ends.high, "stderr": ends.stderr}
    if not found:
        grams = isinstance(first, Geometry)
        found["value"] = (measure.from_grams if grams else measure)(first, second, **options)
    return found


def output_cells(measure: Measure, first: Tensor, second: Tensor, *, options: Mapping[str, Any], asked: Asked) -> Cells:
    """Return a measure of two networks' outputs ``(n, classes)``, as the one pair of layers ``output``.

    Raises:
        DataError: If the outputs do not fit the measure.
    """

    def of_all(_row: int, _column: int) -> dict[str, float]:
        return cell_values(measure, first, second, options=options, asked=asked)

    def of_batches(_row: int, _column: int) -> dict[str, float]:
        labels = options.get("labels")
        parts = [
            measure(first[rows], second[rows], **options if labels is None else {**options, "labels": labels[rows]})
            for rows in equal_batches(len(first), asked)
        ]
        return {"value": float(numpy.mean(parts))}

    return Cells.empty(1, 1).fill(of_all if asked.batch is None else of_batches)


def moment_cells(
    measure: Measure,
    shape: tuple[int, int],
    found: Mapping[tuple[int, int], Any],
    refused: Mapping[tuple[int, int], str],
    *,
    nulls: Mapping[tuple[int, int], Sequence[Any]],
    options: Mapping[str, Any],
) -> Cells:
    """Return a measure of the joint moments of all pairs of layers.

    Args:
        measure: The measure.
        shape: Layers of the first and of the second network.
        found: Moments by place.
        refused: Why there are none, by place.
        nulls: Moments of shuffled pairs by place.
        options: Options of the measure.

    Raises:
        DataError: If no pair of layers has a value.
    """
    check_options(measure, options)

    def compute(row: int, column: int) -> dict[str, float]:
        if (row, column) in refused:
            raise DataError(refused[row, column])
        values = {"value": measure.from_moments(found[row, column], **options)}
        shuffled = [measure.from_moments(moments, **options) for moments in nulls.get((row, column), ())]
        return values | (null_columns(measure, values["value"], numpy.array(shuffled)) if shuffled else {})

    return Cells.empty(*shape).fill(compute)


def null_columns(measure: Measure, value: Any, values: numpy.ndarray) -> dict[str, Any]:
    """Return mean, quantiles and p-value of values for shuffled pairs ``(shuffles, ...)``."""
    alike = values >= value - 1e-12 if measure.kind == "similarity" else values <= value + 1e-12
    low, high = numpy.quantile(values, [0.025, 0.975], axis=0)
    p_value = numpy.where(numpy.isnan(low), numpy.nan, (1 + alike.sum(axis=0)) / (len(values) + 1))
    return {"null": values.mean(axis=0), "null_low": low, "null_high": high, "p_value": p_value}


def equal_batches(count: int, asked: Asked) -> list[Tensor]:
    """Return the rows of the consecutive batches, all of one size, over which a mean is wanted.

    Raises:
        DataError: If the samples are no multiple of the batch size, or what a mean does not have is wanted with it.
    """
    size = asked.batch or count
    if size < 2 or count % size:
        raise DataError(
            f"Expected batches (average_over) that divide the {count} samples evenly, so that each counts as much, "
            f"received batches of {size}."
        )
    if asked.null or asked.intervals is not None:
        raise DataError("A mean over batches (average_over) has no intervals and no null here: leave one of them out.")
    return list(torch.arange(count).reshape(-1, size))
