"""How like the back network's activation another one is, and what two activations are compared by."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.measure import find_measure
from weightscape.similarity.moments import StreamedMoments
from weightscape.weights.algebra import precise_dtype


@dataclass(frozen=True)
class Likeness:
    """How like the back network's activation another one is, on the same images.

    Attributes:
        cka: Linear CKA of images by features, the biased estimator; None where an activation does not vary.
        cka_debiased: The same with the unbiased estimator; None with fewer than 4 images too.
        l2: Mean squared difference of all entries; None for another size.
        r2: Share of the variance of the back's channels over images and pixels; None for another size.
    """

    cka: float | None
    cka_debiased: float | None
    l2: float | None = None
    r2: float | None = None


def geometry_of(activation: Tensor) -> Geometry:
    """Return the geometry of images by features, from the inner products of centred rows in the type of these.

    Half as much work as in double precision; centred before, they lose nothing that the measures show.
    """
    # In the order in which they lie in memory: inner products do not depend on it, and a copy is saved.
    rows = (activation.movedim(1, -1) if activation.ndim > 2 else activation).flatten(1)
    rows = rows - rows.mean(0)
    return Geometry(gram=rows @ rows.T, width=rows.shape[1])


def likeness_of(first: Geometry, second: Geometry, *, l2: float | None = None, r2: float | None = None) -> Likeness:
    """Return how like two activations are, from the geometries of the same images and what is known besides."""
    return Likeness(_measured("linear-cka", first, second), _measured("linear-cka-debiased", first, second), l2, r2)


def _measured(name: str, first: Geometry, second: Geometry) -> float | None:
    """Return a measure, None where it has no value: a constant activation, too few images."""
    try:
        return find_measure(name).from_grams(first, second)
    except DataError:
        return None


def difference(found: Tensor, target: Tensor, spread: float) -> tuple[float, float | None]:
    """Return the mean squared difference, and the share of the variance of the channels that is explained."""
    error = _total((found - target).square_())
    return error / target.numel(), 1 - error / spread if spread > 0 else None


def spread_of(target: Tensor) -> float:
    """Return the sum of squares of channels less their means."""
    axes = [axis for axis in range(target.ndim) if axis != 1]
    mean = target.mean(axes, keepdim=True, dtype=precise_dtype(target.device)).to(target.dtype)
    return _total((target - mean).square_())


def _total(values: Tensor) -> float:
    return float(values.sum(dtype=precise_dtype(values.device)))


def predictable(found: Tensor, target: Tensor) -> float | None:
    """Return the share of a stitch's output that is linear in the back's activation, channel by channel."""
    if found.shape != target.shape:
        return None
    sums = StreamedMoments()
    sums.add(target, found)
    try:
        value = find_measure("linear-regression").from_moments(sums.result())
    except DataError:
        return None
    return value if math.isfinite(value) else None
