"""How far along the source's trajectory each step goes. Loads no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

from weightscape.errors import TrainingError
from weightscape.transfer.settings import Schedule


def fractions(steps: int, schedule: Schedule) -> tuple[float, ...]:
    """Return ``c_0 = 0`` to ``c_K = 1`` for K steps (arXiv 2305.14122, section 3.3).

    ``uniform`` is ``k / K``. ``cosine`` takes large steps first: ``S(k) / S(K)``, with ``S(k)`` the sum of
    ``1 + cos(π t / K)`` over ``t < k``.

    >>> [round(value, 3) for value in fractions(4, "cosine")]
    [0.0, 0.4, 0.741, 0.941, 1.0]
    """
    if schedule == "uniform":
        return tuple(step / steps for step in range(steps + 1))
    sums = list(accumulate((1 + math.cos(math.pi * step / steps) for step in range(steps)), initial=0.0))
    return tuple(partial / sums[-1] for partial in sums)


@dataclass(frozen=True)
class Point:
    """One point of the source's trajectory, on the straight stretch between two anchors (snapshots).

    Attributes:
        step: Its number, 0 for the initialisation.
        anchor: Number of the anchor at the end of its stretch; 0 for the initialisation itself.
        weight: Position on the stretch, in (0, 1].
        fraction: Position λ on the whole trajectory, in [0, 1]; every stretch counts equally.
    """

    step: int
    anchor: int
    weight: float
    fraction: float


def plan_points(stretches: int, steps: int, schedule: Schedule) -> tuple[Point, ...]:
    """Return the points 0 to M of a trajectory that consists of straight stretches.

    Args:
        stretches: Number of stretches: 1 for a linear trajectory.
        steps: M, a multiple of `stretches`.
        schedule: Where the steps of one stretch go. A single one goes to its end.

    Raises:
        TrainingError: If the steps cannot be divided equally.
    """
    if steps % stretches:
        raise TrainingError(
            f"The trajectory has {stretches} stretches between its snapshots; expected a multiple of {stretches} as "
            f"the number of steps, received {steps}. {stretches} makes every snapshot one step."
        )
    weights = fractions(steps // stretches, schedule)[1:]
    points = [Point(step=0, anchor=0, weight=1.0, fraction=0.0)]
    for anchor in range(1, stretches + 1):
        for weight in weights:
            points.append(Point(len(points), anchor, weight, (anchor - 1 + weight) / stretches))
    return tuple(points)
