"""The straight line between two networks: exact ends, parameters interpolated, buffers never."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

from torch import nn

from weightscape.errors import ModelError
from weightscape.weights.algebra import Weights, lerp


def line_positions(points: int | Sequence[float]) -> tuple[float, ...]:
    """Return positions on the line from 0 to 1, ascending, both ends among them.

    >>> line_positions(3), line_positions([0.25])
    ((0.0, 0.5, 1.0), (0.0, 0.25, 1.0))

    Args:
        points: Number of evenly spaced positions, the ends included; or the positions, to which the ends are added.

    Raises:
        ModelError: If there are fewer than two positions, or one lies outside [0, 1].
    """
    if isinstance(points, int):
        if points < 2:
            raise ModelError(f"A line has at least its two ends, received points={points}.")
        return tuple(index / (points - 1) for index in range(points))
    given = [float(point) for point in points]
    outside = [point for point in given if not (math.isfinite(point) and 0 <= point <= 1)]
    if outside:
        raise ModelError(f"Positions on the line between two networks lie in [0, 1], received {outside[0]}.")
    return tuple(sorted({0.0, *given, 1.0}))


def parameter_names(model: nn.Module) -> frozenset[str]:
    """Return the names of the parameters, tied ones under all their names: what a line interpolates."""
    named = model.named_parameters(remove_duplicate=False)
    return frozenset(name for name, parameter in named if parameter.is_floating_point())


def point_on_line(start: Weights, end: Weights, position: float, parameters: Collection[str]) -> Weights:
    """Return the weights at a position: at 0 and 1 copies of the ends themselves, to the bit.

    In between, parameters are interpolated. Buffers, such as the running statistics of batch norms, are those of the
    nearer end (of the start, in the middle): a mean of running variances is the variance of neither network.

    Args:
        start: Weights at position 0; not changed.
        end: Weights at position 1; not changed.
        position: In [0, 1].
        parameters: Names to interpolate.

    Raises:
        ModelError: If the ends are of different architectures.
    """
    if position > 0.5:
        return lerp(end, start, 1 - position, parameters)
    return lerp(start, end, position, parameters)


def line(
    start: Weights, end: Weights, positions: Sequence[float], parameters: Collection[str]
) -> Iterator[tuple[float, Weights]]:
    """Yield each position with its weights, one at a time; see :func:`point_on_line`."""
    for position in positions:
        yield position, point_on_line(start, end, position, parameters)
