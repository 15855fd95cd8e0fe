from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from tests.stitching.planted import moments_of, normal, rows
from weightscape.errors import DataError
from weightscape.similarity.moments import Moments
from weightscape.stitching.direct.least_squares import least_squares, ridge
from weightscape.stitching.direct.matching import semi_match
from weightscape.stitching.direct.sparse import largest_penalty, penalty_path, sparse_path
from weightscape.stitching.direct.stitch import DirectStitch


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(1e-3, 0.9))
def test_a_sparse_stitch_is_that_of_an_independent_library(seed: int, share: float) -> None:
    x, y = rows(seed, 60, 5), rows(seed + 10, 60, 3)
    moments = moments_of(x, y)
    penalty = share * largest_penalty(moments)
    (found,) = sparse_path(moments, [penalty])
    # mean((Wx + b - y)²) + l1 mean|W|: for each row, 3 |.|² / (60 * 3) + l1 |w| / (3 * 5), twice the oracle's.
    oracle = Lasso(alpha=penalty / (2 * 5), tol=1e-12, max_iter=1_000_000).fit(x, y)
    np.testing.assert_allclose(found.weight, oracle.coef_, atol=1e-6 * np.abs(oracle.coef_).max() + 1e-9)
    np.testing.assert_allclose(found.bias, oracle.intercept_, atol=1e-5 * np.abs(oracle.intercept_).max() + 1e-8)


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_the_conditions_of_an_optimum_hold_on_the_whole_path(seed: int) -> None:
    x, y = rows(seed, 40, 8), rows(seed + 10, 40, 4)
    moments = moments_of(x, y)
    penalties = penalty_path(moments, 8)
    path = sparse_path(moments, penalties)
    largest = float(moments.cross.abs().max()) / 40
    for stitch, penalty in zip(path, penalties, strict=True):
        assert stitch.penalty == penalty
        error = x @ stitch.weight.T + stitch.bias - y
        gradient = 2 * error.T @ x / error.numel()
        threshold = penalty / stitch.weight.numel()
        active = stitch.weight != 0
        slack = 1e-5 * largest
        assert float((gradient + threshold * stitch.weight.sign())[active].abs().max()) < slack
        assert float((gradient.abs() - threshold)[~active].clamp(min=0).sum()) < slack
        assert float(error.mean(0).abs().max()) < 1e-8
        assert stitch.optimality is not None
        assert stitch.optimality <= 1e-9
    errors = [stitch.residual for stitch in path]
    assert errors == sorted(errors, reverse=True)


def test_the_path_leads_from_nothing_to_least_squares() -> None:
    x, y = rows(0, 60, 6), rows(1, 60, 4)
    moments = moments_of(x, y)
    nothing, just_below, everything = sparse_path(
        moments, [largest_penalty(moments), 0.999 * largest_penalty(moments), 0.0]
    )
    assert (nothing.sparsity, nothing.rank) == (1.0, 0)
    assert int((just_below.weight != 0).sum()) == 1
    torch.testing.assert_close(everything.weight, least_squares(moments).weight, rtol=1e-6, atol=1e-6)


def test_planted_connections_are_found_among_dead_and_copied_channels() -> None:
    x = normal(0, 400, 6)
    x[:, 5] = 0
    x[:, 4] = x[:, 0]
    y = torch.stack([2 * x[:, 1], x[:, 2] - x[:, 3]], dim=1) + 0.05 * normal(1, 400, 2) + 1
    moments = moments_of(x, y)
    (found,) = sparse_path(moments, [0.1 * largest_penalty(moments)])
    assert (found.weight != 0).nonzero().tolist() == [[0, 1], [1, 2], [1, 3]]
    assert found.optimality is not None
    assert found.optimality < 1e-9


def test_penalties_come_back_in_their_order() -> None:
    moments = moments_of(rows(0, 30, 3), rows(1, 30, 3))
    found = sparse_path(moments, [0.1, 5.0, 0.1, 1.0])
    assert [stitch.penalty for stitch in found] == [0.1, 5.0, 0.1, 1.0]
    assert torch.equal(found[0].weight, found[2].weight)
    assert len(penalty_path(moments, 5)) == 5
    assert penalty_path(moments, 0) == ()
    with pytest.raises(DataError, match="0 or more"):
        sparse_path(moments, [-1.0])


def objective(stitch: DirectStitch, moments: Moments, penalty: float) -> float:
    return stitch.mean_squared_error(moments) + penalty * float(stitch.weight.abs().mean())


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_nothing_is_better_where_channels_depend_on_each_other(seed: int) -> None:
    # As of a convolution with more channels than its patches have pixels, in single precision.
    patches = normal(seed, 500, 5)
    x = (patches @ normal(seed + 1, 5, 12) + 1).float()
    y = (patches @ normal(seed + 2, 5, 7) + 0.1 * normal(seed + 3, 500, 7)).float()
    moments = moments_of(x, y)
    penalties = [*penalty_path(moments, 6), 1e-4 * largest_penalty(moments)]
    path = sparse_path(moments, penalties)
    others = [least_squares(moments), semi_match(moments), ridge(moments, penalty=0.1), *path]
    for stitch, penalty in zip(path, penalties, strict=True):
        found = objective(stitch, moments, penalty)
        assert all(found <= objective(other, moments, penalty) * (1 + 1e-9) for other in others)
        assert float(stitch.weight.abs().sum()) <= 1.001 * float(least_squares(moments).weight.abs().sum())
