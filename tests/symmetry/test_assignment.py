from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from weightscape.errors import SymmetryError
from weightscape.seeds import stream
from weightscape.symmetry import assignment
from weightscape.symmetry.assignment import solve_assignment


def total(gain: torch.Tensor, index: torch.Tensor) -> float:
    return float(gain.double()[torch.arange(len(gain)), index].sum())


@given(arrays(np.float64, (5, 5), elements=st.floats(-3, 3)))
@settings(max_examples=30, deadline=None)
def test_no_other_permutation_is_better(values: np.ndarray) -> None:
    gain = torch.from_numpy(values)
    index = solve_assignment(gain)
    best = max(total(gain, torch.tensor(order)) for order in itertools.permutations(range(5)))
    assert sorted(index.tolist()) == list(range(5))
    assert total(gain, index) == pytest.approx(best, abs=1e-12)


def hard_cases() -> dict[str, torch.Tensor]:
    generator = stream(0, "match")
    left, right = (torch.randn(120, 8, generator=generator) for _ in range(2))
    low_rank = left @ right.T
    dead = low_rank.clone()
    dead[::3], dead[:, ::4] = 0, 0
    return {
        "low-rank": low_rank,
        "dead units": dead,
        "equal": torch.ones(120, 120),
        "tiny": low_rank * 1e-18,
        "ties": torch.randint(0, 3, (120, 120), generator=generator).float(),
        "shifted": low_rank + 1e6,
    }


@pytest.mark.parametrize("case", hard_cases())
def test_the_head_start_does_not_change_the_optimum(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gain = hard_cases()[case]
    rows, columns = linear_sum_assignment(gain.double().numpy(), maximize=True)
    monkeypatch.setattr(assignment, "_AUCTION_SIZE", 1)
    index = solve_assignment(gain)
    assert sorted(index.tolist()) == list(range(120))
    best = float(gain.double().numpy()[rows, columns].sum())
    assert total(gain, index) == pytest.approx(best, rel=1e-12, abs=0)


def test_the_auction_separates_most_rows() -> None:
    gain = hard_cases()["low-rank"]
    prices = torch.from_numpy(assignment.auction_prices(gain.numpy()))
    wanted = (gain - prices).argmax(dim=1).unique().numel()
    assert wanted > 1.2 * gain.argmax(dim=1).unique().numel()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    gain = torch.zeros(3, 3)
    gain[1, 2] = value
    with pytest.raises(SymmetryError, match="finite"):
        solve_assignment(gain)


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(SymmetryError, match=r"\(2, 3\)"):
        solve_assignment(torch.zeros(2, 3))
