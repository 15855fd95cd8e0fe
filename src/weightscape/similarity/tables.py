"""The tidy table of a comparison: one row per pair of layers and measure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy

from weightscape.errors import DataError
from weightscape.similarity.cells import COLUMNS, Asked, Cells, cell_values, moment_cells, output_cells
from weightscape.similarity.collecting import Side, labels_of
from weightscape.similarity.declaration import UndefinedMeasure
from weightscape.similarity.gram_cells import gram_cells
from weightscape.similarity.pair_moments import PairMoments
from weightscape.similarity.plan import Planned
from weightscape.similarity.probe import check_same_probe
from weightscape.similarity.rows import width_of

if TYPE_CHECKING:
    import pandas

OUTPUT = "output"


def rows_of_pair(
    first: Side, second: Side, moments: PairMoments | None, planned: Sequence[Planned], asked: Asked
) -> pandas.DataFrame:
    """Return the rows of two networks.

    Args:
        first: What is known of the first network.
        second: What is known of the second network, on the same samples.
        moments: Their joint moments, where measures need them.
        planned: The measures.
        asked: What is wanted beside the values.

    Raises:
        DataError: If the samples differ, or there are too few for a measure.
    """
    import pandas

    check_same_probe(first.fingerprint, second.fingerprint)
    parts = [
        _rows(one, _cells_or_messages(one, first, second, moments, asked), first, second, moments) for one in planned
    ]
    return pandas.DataFrame([row for part in parts for row in part])


def _cells_or_messages(planned: Planned, first: Side, second: Side, moments: PairMoments | None, asked: Asked) -> Cells:
    """Return the cells of a measure; where these two networks have no value of it, why, so that others keep theirs."""
    try:
        return _cells(planned, first, second, moments, asked)
    except UndefinedMeasure as error:
        shape = (1, 1) if planned.sums == "outputs" else (len(first.layers), len(second.layers))
        return Cells(Cells.empty(*shape).numbers, {(row, column): str(error) for row, column in numpy.ndindex(shape)})


def _cells(planned: Planned, first: Side, second: Side, moments: PairMoments | None, asked: Asked) -> Cells:
    measure, options = planned.measure, planned.choice.options
    if planned.sums == "grams":
        grams = [[side.grams[layer] for layer in side.layers] for side in (first, second)]
        return gram_cells(measure, *grams, options=options, asked=asked)
    if planned.sums == "outputs":
        if first.outputs is None or second.outputs is None:
            raise DataError(f"The measure {measure.name!r} needs the outputs of both networks, and they are not known.")
        known = {**options, "labels": labels_of(first)} if measure.needs_labels else options
        return output_cells(measure, first.outputs, second.outputs, options=known, asked=asked)
    if planned.sums == "activations":
        rows = [[side.rows[layer] for layer in side.layers] for side in (first, second)]
        return Cells.empty(*map(len, rows)).fill(
            lambda row, column: cell_values(measure, rows[0][row], rows[1][column], options=options, asked=asked)
        )
    if moments is None:
        raise DataError(
            f"The measure {measure.name!r} compares channels and needs both networks at once; stored representations "
            "do not do. Compare the networks themselves."
        )
    shape = len(first.layers), len(second.layers)
    return moment_cells(measure, shape, moments.found, moments.refused, nulls=moments.nulls, options=options)


def _rows(
    planned: Planned, cells: Cells, first: Side, second: Side, moments: PairMoments | None
) -> list[dict[str, Any]]:
    outputs = planned.sums == "outputs"
    sides: list[Sequence[str]] = [(OUTPUT,), (OUTPUT,)] if outputs else [first.layers, second.layers]
    widths = [_widths(side, planned) for side in (first, second)]
    common = {
        "measure": planned.choice.label,
        "kind": planned.measure.kind,
        "form": planned.form or "",
        "biased": planned.measure.biased,
    }
    return [
        {
            "source_layer": sides[0][row],
            "source_depth": len(first.layers) if outputs else row,
            "source_width": widths[0].get(sides[0][row]),
            "target_layer": sides[1][column],
            "target_depth": len(second.layers) if outputs else column,
            "target_width": widths[1].get(sides[1][column]),
            **common,
            **{name: float(cells.numbers[name][row, column]) for name in COLUMNS},
            "n": _count(planned, first, moments, (row, column)),
            "message": cells.messages.get((row, column), ""),
        }
        for row, column in product(range(len(sides[0])), range(len(sides[1])))
    ]


def _widths(side: Side, planned: Planned) -> dict[str, int]:
    if planned.form is None:
        return {} if side.outputs is None else {OUTPUT: side.outputs.shape[1]}
    return {layer: width_of(shape, planned.form) for layer, shape in side.shapes.items()}


def _count(planned: Planned, side: Side, moments: PairMoments | None, place: tuple[int, int]) -> int:
    if planned.sums == "moments" and moments is not None and place in moments.found:
        return moments.found[place].count
    return side.count
