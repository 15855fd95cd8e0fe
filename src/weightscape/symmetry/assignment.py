"""Exact linear assignment: which source unit to put in the place of which target unit.

The solver is SciPy's shortest-augmenting-path method (Crouse, IEEE TAES 2016). On large problems it is given a head
start: the prices of a short auction (Bertsekas, 1988) are subtracted from the columns. Every assignment loses the same
total by that, so the optimum is the same one, but augmenting paths become short: four to seven times faster on
gradients of n = 2048 to 4096 units.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from weightscape.errors import SymmetryError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_AUCTION_SIZE = 384  # below this size SciPy alone is faster
_AUCTION_STEP = 1e-3  # smallest raise of a bid, relative to the range of the values
_AUCTION_ROUNDS = 1000
_AUCTION_WORK = 60  # bids at most, per row on average
_AUCTION_OPEN = 0.003  # share of rows that may stay without a column


def solve_assignment(gain: Tensor) -> Tensor:
    """Return the permutation ``index`` that maximises ``sum_i gain[i, index[i]]``.

    Exact for every input; among optima that tie (dead units), any one may be returned. Cost O(n³) on the host.

    Args:
        gain: Value ``(n, n)`` of giving row i the column j, on any device.

    Returns:
        int64 indices ``(n,)`` on the CPU.

    Raises:
        SymmetryError: If the matrix is not square or holds NaN or infinite values.

    >>> solve_assignment(torch.tensor([[1.0, 3.0], [0.0, 1.0]]))
    tensor([1, 0])
    """
    if gain.ndim != 2 or gain.shape[0] != gain.shape[1]:
        raise SymmetryError(f"An assignment needs a square matrix (n, n), received the shape {tuple(gain.shape)}.")
    gain = gain.detach()
    if not bool(torch.isfinite(gain).all()):
        raise SymmetryError(
            "An assignment needs finite values, received NaN or infinity: "
            "weights or gradients overflowed; look for the step at which training diverged."
        )
    values = gain.cpu().numpy()
    exact = values.astype(np.float64)
    if len(values) >= _AUCTION_SIZE:
        exact -= auction_prices(values)
    return torch.from_numpy(linear_sum_assignment(exact, maximize=True)[1])


def auction_prices(gain: Array) -> Array:
    """Return column prices ``(n,)`` at which nearly all rows prefer different columns.

    Jacobi auction: rows without a column bid for their best one at once; the highest bid takes it and evicts the
    holder. It stops early; the prices are a head start for an exact solver and need not be optimal.

    Args:
        gain: Value ``(n, n)`` of giving row i the column j.
    """
    size = len(gain)
    prices, holder = np.zeros(size, gain.dtype), np.full(size, -1)
    spread = gain.max(axis=1) - gain.min(axis=1)
    step = _AUCTION_STEP * spread.max()
    # Rows of one value (dead units) take any column that is left, and would only bid each other up.
    waiting = spread > 0
    bids = 0
    for _ in range(_AUCTION_ROUNDS):
        bidders = np.flatnonzero(waiting)
        bids += len(bidders)
        if len(bidders) <= _AUCTION_OPEN * size or bids > _AUCTION_WORK * size:
            break
        wanted, margin = _best_columns(gain[bidders] - prices)
        bid = prices[wanted] + margin + step
        # In ascending order, so that the highest bid for a column is written last and stays.
        order = np.argsort(bid, kind="stable")
        winner = np.full(size, -1)
        winner[wanted[order]] = order
        taken = np.flatnonzero(winner >= 0)
        who = winner[taken]
        waiting[holder[taken][holder[taken] >= 0]] = True
        holder[taken], prices[taken] = bidders[who], bid[who]
        waiting[bidders[who]] = False
    return prices


def _best_columns(values: Array) -> tuple[Array, Array]:
    """Return the best column of every row, and how far the second best is behind. Overwrites the values."""
    rows = np.arange(len(values))
    wanted = values.argmax(axis=1)
    best = values[rows, wanted]
    values[rows, wanted] = -np.inf
    return wanted, best - values.max(axis=1)
