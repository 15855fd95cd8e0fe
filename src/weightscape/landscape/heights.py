"""The height of a barrier, from the loss of every sample at every point of a line.

Three definitions are in use and give different numbers when the ends differ:

- *above the line* between the ends, ``max_α [L(α) - (1-α) L(0) - α L(1)]`` (Entezari et al., arXiv 2110.06296, eq. 1);
- *above the mean* of the ends, ``max_α L(α) - (L(0) + L(1)) / 2`` (Frankle et al., arXiv 1912.05671, of the error;
  Ainsworth et al., arXiv 2209.04836, definition 2.2, of the loss);
- *above the worse end*, ``max_α L(α) - max(L(0), L(1))``: 0 where the line never leaves the level of its ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from weightscape.errors import ModelError
from weightscape.results import Result


@dataclass(frozen=True)
class Height(Result):
    """The height of a barrier on n samples.

    Standard errors are those of the sampling of the n samples, *paired*: the difference to the ends is taken on each
    sample. They say nothing about other seeds.

    Attributes:
        barrier: Largest height above the line between the ends; 0 if no point lies above it. A maximum over noisy
            points is biased upwards.
        stderr: Standard error of the height at `position`, as if that point had been chosen beforehand.
        position: Where the height is largest, in [0, 1]; 0 if no point lies above the line.
        crossfit: The height at the position that is the highest on the *other* half of the samples, averaged over both
            halves (even and odd samples): free of the bias of the maximum, and lower where halves disagree.
        above_mean: Largest value less the mean of the ends.
        above_worse_end: Largest value less the larger end; 0 if no point is above it.
        start: Value at position 0.
        end: Value at position 1.
    """

    barrier: float
    stderr: float
    position: float
    crossfit: float
    above_mean: float
    above_worse_end: float
    start: float
    end: float


def excess(positions: Sequence[float], values: Tensor) -> Tensor:
    """Return how far each sample's value lies above the line between its ends, ``(points, n)``; 0 at the ends.

    Args:
        positions: Ascending, from 0 to 1.
        values: Value of each sample at each position ``(points, n)``.
    """
    places = torch.tensor(positions, dtype=torch.float64)[:, None]
    above = values.double() - ((1 - places) * values[0].double() + places * values[-1].double())
    above[0], above[-1] = 0.0, 0.0
    return above.nan_to_num(nan=math.inf, posinf=math.inf)


def mean_and_stderr(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard error over the last axis; the error is NaN for a single sample."""
    values = values.double()
    count = values.shape[-1]
    spread = values.std(dim=-1) if count > 1 else torch.full(values.shape[:-1], math.nan, dtype=torch.float64)
    return values.mean(dim=-1), spread / math.sqrt(count)


def height(positions: Sequence[float], values: Tensor) -> Height:
    """Return the height of the barrier.

    Args:
        positions: Ascending, from 0 to 1.
        values: Loss, or mistake as 0 and 1, of each sample at each position ``(points, n)``.

    Raises:
        ModelError: If the value at one of the ends is not finite.
    """
    means, _ = mean_and_stderr(values)
    if not bool(torch.isfinite(means[[0, -1]]).all()):
        raise ModelError(
            f"The loss at the ends of the line is {means[0]:.3g} and {means[-1]:.3g}; a barrier needs two networks "
            "with finite losses."
        )
    above, stderr = mean_and_stderr(excess(positions, values))
    top = int(above.argmax())
    highest = float(means.nan_to_num(nan=math.inf).max())
    start, end = float(means[0]), float(means[-1])
    return Height(
        barrier=float(above[top]),
        stderr=float(stderr[top]),
        position=positions[top],
        crossfit=_crossfit(excess(positions, values)),
        above_mean=highest - (start + end) / 2,
        above_worse_end=highest - max(start, end),
        start=start,
        end=end,
    )


def _crossfit(above: Tensor) -> float:
    """Return the height where the other half of the samples is the highest; NaN for a single sample."""
    halves = above[:, ::2], above[:, 1::2]
    if not halves[1].shape[1]:
        return math.nan
    one, two = (half.mean(dim=1) for half in halves)
    return float((one[two.argmax()] + two[one.argmax()]) / 2)
