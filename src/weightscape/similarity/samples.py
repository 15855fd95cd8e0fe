"""A measure of two representations as a function of which samples are taken, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.computing import as_geometry, as_matrices, check_pair, geometries_of
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.leave_one_out import LEFT_OUT
from weightscape.similarity.measure import Measure, check_options

_MOST_FOR_GRAMS = 4000


class PairedSamples:
    """Two representations of the same samples: Gram matrices where those suffice, otherwise activations.

    No forward pass is made: everything is computed from what is given.

    Attributes:
        measure: The measure.
        count: Number of samples.
        geometries: The two layers; None where activations are used.

    Raises:
        DataError: If the two are not of the same samples, or one is a Gram matrix and the other not.
    """

    def __init__(self, measure: Measure, first: Any, second: Any, options: Mapping[str, Any]) -> None:
        check_options(measure, options)
        self.measure, self._options = measure, dict(options)
        self.geometries: tuple[Geometry, Geometry] | None = None
        self._decomposed = False
        stored = [hasattr(given, "matrix") or isinstance(given, Geometry) for given in (first, second)]
        if any(stored):
            if not all(stored):
                raise DataError("Expected two matrices of activations or two Gram matrices, received one of each.")
            self.geometries = (as_geometry(first), as_geometry(second))
            measure.function_of("grams")
            check_pair(measure, *self.geometries)
            self.count = self.geometries[0].count
            return
        one, other = as_matrices(first, second)
        self.count = len(one)
        if "grams" in measure.functions and not _is_narrow(measure, one, other):
            self.geometries = geometries_of(one, other)
        self._matrices = (one, other)

    def value(self) -> float:
        """Return the measure of all samples."""
        if self.geometries is not None:
            return self.measure.from_grams(*self.geometries, **self._options)
        return self.measure(*self._matrices, **self._options)

    def of_rows(self, rows: Tensor) -> float:
        """Return the measure of some of the samples."""
        if self.geometries is not None:
            parts = [layer.rows(rows.to(layer.device)) for layer in self.geometries]
            return self.measure.from_grams(*parts, **self._options)
        options = dict(self._options)
        if "labels" in options:
            options["labels"] = torch.as_tensor(options["labels"])[rows]
        one, other = (matrix[rows.to(matrix.device)] for matrix in self._matrices)
        return self.measure(one, other, **options)

    def shuffled(self, order: Tensor) -> float:
        """Return the measure after the samples of the second representation changed places: pairs that do not belong.

        Raises:
            DataError: If the measure looks at labels, which would have to be shuffled as well.
        """
        if self.measure.needs_labels:
            raise DataError(
                f"The measure {self.measure.name!r} compares with the right classes, which shuffled pairs do not have. "
                "What independent mistakes give is in the result of shared_mistakes, without drawing."
            )
        if self.geometries is not None:
            return self._shuffled_geometry(order)
        one, other = self._matrices
        return self.measure(one, other[order.to(other.device)], **self._options)

    def _shuffled_geometry(self, order: Tensor) -> float:
        assert self.geometries is not None
        one, other = self.geometries
        order = order.to(other.device)
        if self.measure.vectors and "sample-permutation" in self.measure.invariances:
            vectors = [self.measure.vectors[0](layer, **self._options) for layer in (one, other)]
            square = vectors[1].view(self.count, self.count)
            return self.measure.clipped(float(vectors[0] @ square[order][:, order].reshape(-1)))
        self._decompose()
        return self.measure.from_grams(one, other.permuted(order), **self._options)

    def _decompose(self) -> None:
        """Compute once what an order does not change, so that every shuffle only moves it."""
        if not self._decomposed:
            self.value()
            self._decomposed = True


def _is_narrow(measure: Measure, first: Tensor, second: Tensor) -> bool:
    """Return whether the units are so few that a measure is better computed without Gram matrices."""
    possible = bool({"moments", "activations"} & set(measure.functions))
    # what leaves single samples out in closed form wants the Gram matrices, as long as they fit
    wanted = measure.name in LEFT_OUT and len(first) <= _MOST_FOR_GRAMS
    return possible and not wanted and first.shape[1] + second.shape[1] < len(first)
