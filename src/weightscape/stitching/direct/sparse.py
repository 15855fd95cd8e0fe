"""Sparse direct matching: least squares with an l1 penalty, along a path of penalties, from moments alone.

The objective is that of the published code, ``mean((W x + b - y)²) + l1 * mean(|W|)`` with means over all entries, and
a bias that is free. Its rows are independent lassos with one Gram matrix. Coordinate descent on it (Friedman, Hastie,
Tibshirani 2010) updates one input channel for all outputs at a time; a row that is not there yet is finished by exact
solutions on its support, so that the conditions of an optimum hold to rounding. No pass over activations is made, and
zeros are exact, where stochastic gradients need a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from weightscape.errors import DataError
from weightscape.stitching.direct.least_squares import affine_bias
from weightscape.stitching.direct.stitch import DirectStitch, check_rows, direct_stitch, varying

if TYPE_CHECKING:
    from weightscape.similarity.moments import Moments

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Rows: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

TOLERANCE = 1e-9
"""Largest violation of the conditions of an optimum, relative to the largest gradient at W = 0."""
_SWEEPS = 20
_ROUNDS = 50
_SMALLEST = 1e-3
_RIDGE = 1e-12


def largest_penalty(moments: Moments) -> float:
    """Return the smallest l1 penalty at which all of W is 0."""
    return 2 * len(moments.first_mean) * float(moments.cross.abs().max()) / moments.count


def penalty_path(moments: Moments, points: int) -> tuple[float, ...]:
    """Return penalties in equal ratios, from just below the :func:`largest_penalty` down to a thousandth of it."""
    if points < 1:
        return ()
    return tuple(float(value) for value in largest_penalty(moments) * np.geomspace(1, _SMALLEST, points + 1)[1:])


def sparse_path(moments: Moments, penalties: Sequence[float], *, tolerance: float = TOLERANCE) -> list[DirectStitch]:
    """Return the stitch of each l1 penalty; each starts where that of the next larger penalty ended.

    Args:
        moments: Of the two layers, on training data.
        penalties: Values of l1, in the units of ``mean((W x + b - y)²) + l1 * mean(|W|)``; any order.
        tolerance: Largest violation of the conditions of an optimum, relative to the largest gradient at 0. What was
            reached is the ``optimality`` of each stitch.

    Returns:
        One stitch per penalty, in the order given.

    Raises:
        DataError: If a penalty is negative, there are fewer than two rows, or activations are not finite.
    """
    check_rows(moments)
    if any(not penalty >= 0 for penalty in penalties):
        raise DataError(f"Expected l1 penalties of 0 or more, received {', '.join(map(str, penalties))}.")
    lasso = _Lasso(moments)
    found = {}
    for penalty in sorted(set(penalties), reverse=True):
        violation = lasso.solve(penalty / (2 * len(moments.first_mean)), tolerance)
        weight = torch.from_numpy(lasso.weight + 0.0).to(moments.cross.device)
        bias = affine_bias(moments, weight)
        found[penalty] = direct_stitch("sparse", weight, bias, moments, penalty=penalty, optimality=violation)
    return [found[penalty] for penalty in penalties]


class _Lasso:
    """Rows ``w`` that minimise ``w G w / 2 - c w + threshold * |w|_1``, warm from one threshold to the next."""

    def __init__(self, moments: Moments) -> None:
        self.gram: Array = (moments.first / moments.count).cpu().numpy().copy()
        # Dependent channels leave eigenvalues that are rounding, some below 0, and the problem would not be convex.
        self.gram[np.diag_indices_from(self.gram)] += _RIDGE * np.linalg.norm(self.gram, 2)
        self.target: Array = (moments.cross.T / moments.count).cpu().numpy()
        self.scales: Array = np.diagonal(self.gram).copy()
        self.varying = np.flatnonzero(varying(moments.first, moments.first_mean, moments.count).cpu().numpy())
        self.weight: Array = np.zeros_like(self.target)
        self.largest = float(np.abs(self.target).max()) or 1.0

    def solve(self, threshold: float, tolerance: float) -> float:
        """Move the weight to the optimum and return the largest violation of its conditions, relative."""
        open_rows: Rows = np.arange(len(self.weight))
        for _ in range(_ROUNDS):
            self._descend(open_rows, threshold)
            open_rows = open_rows[self._violations(open_rows, threshold) > tolerance]
            open_rows = np.array(
                [row for row in open_rows.tolist() if not self._polish(row, threshold, tolerance)], dtype=np.int64
            )
            if not len(open_rows):
                break
        return float(self._violations(np.arange(len(self.weight)), threshold).max())

    def _descend(self, rows: Rows, threshold: float) -> None:
        weight = self.weight[rows]
        rest = self.target[rows] - weight @ self.gram  # minus the gradient of the smooth part
        for _ in range(_SWEEPS):
            for channel in self.varying:
                aim = rest[:, channel] + self.scales[channel] * weight[:, channel]
                moved = np.sign(aim) * np.maximum(np.abs(aim) - threshold, 0) / self.scales[channel]
                step = moved - weight[:, channel]
                if step.any():
                    rest -= step[:, None] * self.gram[channel]
                    weight[:, channel] = moved
        self.weight[rows] = weight

    def _violations(self, rows: Rows, threshold: float) -> Array:
        """Return the largest violation of the conditions of an optimum of each row, relative to the largest target."""
        return _violations(self.weight[rows], self.target[rows], self.gram, threshold) / self.largest

    def _polish(self, row: int, threshold: float, tolerance: float) -> bool:
        """Follow the signs of a row to its optimum, by exact solutions on the support; tell whether that was reached.

        The feature-sign search of Lee, Battle, Raina and Ng (2007): the objective falls with every step.
        """
        weight, target = self.weight[row].copy(), self.target[row]
        for _ in range(3 * len(weight) + 10):
            pull = target - weight @ self.gram
            signs = np.sign(weight)
            active = weight != 0
            if not active.any() or np.abs(pull - threshold * signs)[active].max() <= tolerance * self.largest / 10:
                excess = np.where(active, 0, np.abs(pull) - threshold)
                entering = int(excess.argmax())
                if excess[entering] <= tolerance * self.largest:
                    self.weight[row] = weight
                    return True
                active[entering], signs[entering] = True, np.sign(pull[entering])
            support = np.flatnonzero(active)
            solved = np.zeros_like(weight)
            side = target[support] - threshold * signs[support]
            solved[support] = np.linalg.lstsq(self.gram[np.ix_(support, support)], side)[0]
            weight = self._best_between(weight, solved, target, threshold)
        self.weight[row] = weight
        return False

    def _best_between(self, start: Array, end: Array, target: Array, threshold: float) -> Array:
        """Return the best of the end of a line and the points of it at which an entry is 0."""
        crossing = np.flatnonzero(start * end < 0)
        places = start[crossing] / (start[crossing] - end[crossing])
        points = [end]
        for channel, place in zip(crossing, places, strict=True):
            point = start + place * (end - start)
            point[channel] = 0
            points.append(point)
        found = np.stack(points)
        objective = (found @ self.gram * found).sum(1) / 2 - found @ target + threshold * np.abs(found).sum(1)
        best: Array = found[objective.argmin()]
        return best


def _violations(weight: Array, target: Array, gram: Array, threshold: float) -> Array:
    pull = target - weight @ gram
    inside = np.maximum(np.abs(pull) - threshold, 0)
    violations: Array = np.where(weight != 0, np.abs(pull - threshold * np.sign(weight)), inside).max(axis=1)
    return violations
