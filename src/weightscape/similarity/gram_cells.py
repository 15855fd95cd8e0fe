"""A measure of Gram matrices for all pairs of layers: one product of matrices where the measure is an inner product."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy
import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.seeds import stream
from weightscape.similarity.cells import Asked, Cells, cell_values, equal_batches, null_columns
from weightscape.similarity.computing import check_pair
from weightscape.similarity.geometry import Geometry, StoredGram
from weightscape.similarity.measure import Measure, check_options


def gram_cells(
    measure: Measure,
    first: Sequence[StoredGram],
    second: Sequence[StoredGram],
    *,
    options: Mapping[str, Any],
    asked: Asked,
) -> Cells:
    """Return a measure of Gram matrices for all pairs of layers.

    Args:
        measure: The measure.
        first: Layers of the first network.
        second: Layers of the second network, on the same samples.
        options: Options of the measure.
        asked: What is wanted beside the values.

    Raises:
        DataError: If the samples differ or are too few, or no pair of layers has a value.
    """
    check_options(measure, options)
    for gram in (*first, *second):
        check_pair(measure, _unchecked(first[0]), _unchecked(gram))
    if measure.vectors and asked.intervals is None and asked.batch is None:
        return _products(measure, first, second, options=options, asked=asked)
    one, other = ([_geometry_or_error(gram) for gram in side] for side in (first, second))

    def compute(row: int, column: int) -> dict[str, float]:
        pair = _usable(one[row]), _usable(other[column])
        if asked.batch is not None:
            return _mean_over_batches(measure, *pair, options, asked)
        return cell_values(measure, *pair, options=options, asked=asked)

    return Cells.empty(len(one), len(other)).fill(compute)


def _unchecked(gram: StoredGram) -> Geometry:
    """Return a geometry that says of which samples a Gram matrix is, whatever its numbers."""
    return Geometry(gram=gram.matrix, width=gram.width, fingerprint=gram.fingerprint)


def _geometry_or_error(gram: StoredGram) -> Geometry | DataError:
    try:
        return Geometry.of_gram(gram)
    except DataError as error:
        return error


def _permuted(layer: Geometry | DataError, order: Tensor) -> Geometry | DataError:
    return layer if isinstance(layer, DataError) else layer.permuted(order)


def _usable(layer: Geometry | DataError) -> Geometry:
    if isinstance(layer, DataError):
        raise layer
    return layer


def _products(
    measure: Measure,
    first: Sequence[StoredGram],
    second: Sequence[StoredGram],
    *,
    options: Mapping[str, Any],
    asked: Asked,
) -> Cells:
    """Return a measure that is an inner product for all pairs at once, for each shuffle as well.

    Raises:
        DataError: If no layer of a network has a vector.
    """
    cells = Cells.empty(len(first), len(second))
    (rows, row_messages), (columns, column_messages) = (
        layer_vectors(measure, map(_geometry_or_error, side), options) for side in (first, second)
    )
    for side in (rows, columns):
        if bool(side.isnan().all()):
            raise DataError(next(iter((row_messages if side is rows else column_messages).values())))
    cells.numbers["value"] = (rows @ columns.T).clamp(measure.low, measure.high).cpu().numpy()
    for row, column in product(range(len(first)), range(len(second))):
        if row in row_messages or column in column_messages:
            cells.messages[row, column] = row_messages.get(row) or column_messages[column]
    if asked.null:
        orders = _orders(len(first[0].matrix), asked)
        values = numpy.stack([_shuffled(measure, rows, columns, second, order, options) for order in orders])
        for name, found in null_columns(measure, cells.numbers["value"], values).items():
            cells.numbers[name] = found
    return cells


def layer_vectors(
    measure: Measure, layers: Iterable[Geometry | DataError], options: Mapping[str, Any]
) -> tuple[Tensor, dict[int, str]]:
    """Return the vectors whose inner products are the measure ``(layers, k)``, and why layers have none.

    Args:
        measure: The measure.
        layers: Geometries, or why there are none; best made as they are asked for: what each keeps is gone before the
            next one.
        options: Options of the measure.
    """
    found: list[Tensor | None] = []
    messages: dict[int, str] = {}
    for place, layer in enumerate(layers):
        try:
            found.append(measure.vectors[0](_usable(layer), **options))
        except DataError as error:
            messages[place] = str(error)
            found.append(None)
    example = next((vector for vector in found if vector is not None), torch.empty(1, dtype=torch.float64))
    missing = torch.full_like(example, float("nan"))
    return torch.stack([missing if vector is None else vector for vector in found]), messages


def _shuffled(
    measure: Measure,
    rows: Tensor,
    columns: Tensor,
    second: Sequence[StoredGram],
    order: Tensor,
    options: Mapping[str, Any],
) -> numpy.ndarray:
    n, order = len(order), order.to(columns.device)
    if "sample-permutation" in measure.invariances and columns.shape[1] == n * n:
        moved = torch.stack([column.view(n, n)[order][:, order].reshape(-1) for column in columns])
    else:
        moved = layer_vectors(measure, (_permuted(_geometry_or_error(gram), order) for gram in second), options)[0]
    found: numpy.ndarray = (rows @ moved.T).clamp(measure.low, measure.high).cpu().numpy()
    return found


def _orders(count: int, asked: Asked) -> list[Tensor]:
    """Return the shuffles that :func:`~weightscape.similarity.nulls.shuffled_pairs` draws."""
    random = stream(asked.seed, "subset", "null")
    return [torch.randperm(count, generator=random) for _ in range(asked.null)]


def _mean_over_batches(
    measure: Measure, first: Geometry, second: Geometry, options: Mapping[str, Any], asked: Asked
) -> dict[str, float]:
    batches = equal_batches(first.count, asked)
    return {"value": float(numpy.mean([measure.from_grams(first.rows(b), second.rows(b), **options) for b in batches]))}
