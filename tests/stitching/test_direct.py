from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import LinearRegression, Ridge
from torch import Tensor

from tests.stitching.planted import moments_of, normal, rotation, rows
from weightscape.errors import DataError
from weightscape.stitching.direct.least_squares import least_squares, ridge
from weightscape.stitching.direct.matching import best_inputs, correlations, identity, permutation, semi_match
from weightscape.stitching.direct.orthogonal import orthogonal
from weightscape.stitching.direct.reduced_rank import reduced_rank
from weightscape.stitching.direct.stitch import DirectStitch

SEEDS = st.integers(0, 10**6)


def applied(stitch: DirectStitch, x: Tensor) -> Tensor:
    return x.double() @ stitch.weight.T + stitch.bias


def close(one: Tensor, other: Tensor | np.ndarray, tolerance: float = 1e-8) -> None:
    torch.testing.assert_close(one, torch.as_tensor(other), rtol=tolerance, atol=tolerance)


@given(SEEDS, st.integers(1, 7), st.integers(1, 7))
def test_least_squares_and_ridge_are_those_of_an_independent_library(seed: int, inputs: int, outputs: int) -> None:
    x, y = rows(seed, 50, inputs), rows(seed + 10, 50, outputs)
    moments = moments_of(x, y)
    found, oracle = least_squares(moments), LinearRegression().fit(x, y)
    close(found.weight, oracle.coef_)
    close(found.bias, oracle.intercept_)
    assert found.r2 == pytest.approx(
        1 - float((applied(found, x) - y).square().sum() / (y - y.mean(0)).square().sum()), abs=1e-9
    )
    shrunk, oracle = ridge(moments, penalty=0.3), Ridge(alpha=0.3 * 50, solver="svd").fit(x, y)
    close(shrunk.weight, oracle.coef_.reshape(outputs, inputs))
    close(shrunk.bias, oracle.intercept_)


@given(SEEDS)
def test_least_squares_predicts_what_the_pseudo_inverse_of_all_pixels_does(seed: int) -> None:
    x, y = rows(seed, 40, 5).float(), rows(seed + 10, 40, 4).float()
    padded = np.hstack([x.double().numpy(), np.ones((40, 1))])
    close(applied(least_squares(moments_of(x, y)), x), padded @ (np.linalg.pinv(padded) @ y.double().numpy()), 1e-5)


def test_dead_and_copied_channels_change_no_prediction_and_get_the_smallest_weights() -> None:
    x, y = rows(0, 60, 4), rows(1, 60, 3)
    dead = torch.full((60, 1), 0.7, dtype=torch.float64)
    degenerate = torch.hstack([x, dead, x[:, :1], x[:, 1:2] - 2 * x[:, 2:3], torch.zeros_like(dead)])
    found, full = least_squares(moments_of(degenerate, y)), least_squares(moments_of(x, y))
    close(applied(found, degenerate), applied(full, x))
    oracle = LinearRegression().fit(degenerate, y)
    close(applied(found, degenerate), oracle.predict(degenerate))
    close(found.weight, oracle.coef_)  # it is the minimum-norm solution, too
    assert float(found.weight[:, [4, 7]].abs().max()) < 1e-12
    assert found.rank == 3
    for stitch in (reduced_rank(moments_of(degenerate, y)).at(2), ridge(moments_of(degenerate, y), penalty=1e-3)):
        assert bool(stitch.weight.isfinite().all())


def test_channels_that_do_not_vary_at_all_leave_the_mean() -> None:
    x, y = torch.ones(20, 3), rows(1, 20, 2)
    for found in (least_squares(moments_of(x, y)), semi_match(moments_of(x, y)), ridge(moments_of(x, y), penalty=1.0)):
        close(applied(found, x), y.mean(0).expand(20, 2))
        assert found.r2 == pytest.approx(0, abs=1e-12)
    assert least_squares(moments_of(y, torch.ones(20, 2))).r2 is None


@given(SEEDS, st.integers(2, 6), st.integers(2, 6))
def test_every_rank_is_the_best_of_its_rank(seed: int, inputs: int, outputs: int) -> None:
    x, y = rows(seed, 60, inputs), rows(seed + 10, 60, outputs)
    found = reduced_rank(moments_of(x, y))
    full = least_squares(moments_of(x, y))
    errors = []
    for rank in range(1, found.largest + 1):
        stitch = found.at(rank)
        assert int(torch.linalg.matrix_rank(stitch.weight)) <= rank
        inner, outer = found.factors(rank)
        close(outer @ inner, stitch.weight)
        close(outer.T @ outer, torch.eye(rank, dtype=torch.float64))
        # The best approximation of rank r to the predictions, by Eckart and Young, is that of the targets, too.
        left, values, right = torch.linalg.svd(applied(full, x) - y.mean(0), full_matrices=False)
        truncated = left[:, :rank] * values[:rank] @ right[:rank]
        close(applied(stitch, x) - y.mean(0), truncated, 1e-6)
        errors.append(stitch.residual)
        expected = float((y - y.mean(0)).square().sum() - found.gains[:rank].sum())
        assert stitch.residual * y.numel() == pytest.approx(expected, rel=1e-7)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(full.residual)


def test_the_published_variant_of_reduced_rank_neither_centres_nor_has_a_bias() -> None:
    x, y = rows(3, 60, 5), rows(4, 60, 4)
    found = reduced_rank(moments_of(x, y), compat=True)
    whole = np.linalg.pinv(x.numpy()) @ y.numpy()
    right = np.linalg.svd(x.numpy() @ whole)[2].T
    for rank in (1, 2, 4):
        close(found.at(rank).weight, (whole @ right[:, :rank] @ right[:, :rank].T).T)
        assert not found.at(rank).bias.any()
    assert reduced_rank(moments_of(x, y)).at(2).residual < found.at(2).residual


@given(SEEDS, st.integers(2, 6))
def test_rotations_are_those_of_an_independent_library(seed: int, size: int) -> None:
    x, y = rows(seed, 40, size), rows(seed + 10, 40, size)
    found = orthogonal(moments_of(x, y))
    close(found.weight, orthogonal_procrustes(x, y)[0].T, 1e-6)
    assert not found.bias.any()
    centred = orthogonal(moments_of(x, y), centred=True)
    close(centred.weight, orthogonal_procrustes(x - x.mean(0), y - y.mean(0))[0].T, 1e-6)
    assert centred.residual <= found.residual + 1e-9


def test_a_rotation_into_more_channels_keeps_lengths_and_into_fewer_is_refused() -> None:
    x = rows(0, 50, 3)
    embedding = rotation(1, 5)[:, :3]
    found = orthogonal(moments_of(x, x @ embedding.T))
    close(found.weight, embedding)
    assert found.residual < 1e-12
    with pytest.raises(DataError, match="reduced-rank"):
        orthogonal(moments_of(x @ embedding.T, x))


@given(SEEDS, st.integers(2, 9))
def test_a_planted_permutation_is_found(seed: int, size: int) -> None:
    x = rows(seed, 100, size)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    y = x[:, order] + 0.01 * normal(seed + 5, 100, size)
    moments = moments_of(x, y)
    expected = torch.eye(size, dtype=torch.float64)[order]
    close(permutation(moments).weight, expected)
    assert not permutation(moments).bias.any()
    assert torch.equal(best_inputs(moments), order)


def test_a_permutation_uses_each_channel_once_where_a_semi_match_repeats_the_best() -> None:
    base = normal(0, 200, 1)
    x = torch.hstack([base, base + 0.5 * normal(1, 200, 1), normal(2, 200, 1)])
    y = torch.hstack([base, base + 0.1 * normal(3, 200, 1), -x[:, 2:]])
    moments = moments_of(x, y)
    assert best_inputs(moments)[:2].tolist() == [0, 0]
    assert best_inputs(moments, absolute=True).tolist() == [0, 0, 2]
    assert (permutation(moments).weight.sum(0) == 1).all()
    assert permutation(moments).rank == 3
    assert float(semi_match(moments, absolute=True).weight[2, 2]) == pytest.approx(-1)
    fitted = permutation(moments, scaling="fitted")
    assert fitted.residual < permutation(moments).residual


def test_a_semi_match_has_the_coefficient_of_a_regression_on_one_channel() -> None:
    x, y = rows(5, 80, 4), rows(6, 80, 3)
    found = semi_match(moments_of(x, y))
    expected = np.corrcoef(y.T, x.T)[:3, 3:]
    close(correlations(moments_of(x, y)), expected)
    for row, channel in enumerate(expected.argmax(1)):
        oracle = LinearRegression().fit(x[:, [channel]], y[:, row])
        assert float(found.weight[row, channel]) == pytest.approx(oracle.coef_[0])
        assert float(found.bias[row]) == pytest.approx(oracle.intercept_)
    assert int((found.weight != 0).sum()) == 3
    assert found.sparsity == 0.75
    plain = semi_match(moments_of(x, y), scaling="none")
    assert plain.weight.unique().tolist() == [0, 1]


def test_a_dead_channel_is_matched_last() -> None:
    x = torch.hstack([torch.full((50, 1), 0.7, dtype=torch.float64), rows(1, 50, 2)])
    moments = moments_of(x, -x[:, 1:2])
    assert bool((best_inputs(moments) > 0).all())  # though all correlations are negative or 0
    assert bool(correlations(moments).isfinite().all())


@given(SEEDS)
def test_larger_classes_of_maps_never_fit_worse(seed: int) -> None:
    x, y = rows(seed, 80, 4), rows(seed + 10, 80, 4)
    moments = moments_of(x, y)
    affine = least_squares(moments).residual
    for narrower in (identity(moments), permutation(moments), semi_match(moments), orthogonal(moments)):
        assert narrower.residual >= affine - 1e-9
    assert orthogonal(moments).residual <= min(identity(moments).residual, permutation(moments).residual) + 1e-9


def test_the_error_on_other_data_is_that_of_applying_the_stitch() -> None:
    x, y, other_x, other_y = rows(0, 30, 4), rows(1, 30, 3), rows(2, 25, 4), rows(3, 25, 3)
    found = least_squares(moments_of(x, y))
    error = (applied(found, other_x) - other_y).square()
    there = moments_of(other_x, other_y)
    assert found.mean_squared_error(there) == pytest.approx(float(error.mean()))
    total = (other_y - other_y.mean(0)).square().sum()
    assert found.explained(there) == pytest.approx(1 - float(error.sum() / total))
    with pytest.raises(DataError, match="same two layers"):
        found.explained(moments_of(other_y, other_x))


def test_means_over_groups_of_least_squares_are_not_least_squares() -> None:
    x, y = rows(0, 90, 6), rows(1, 90, 3)
    whole = least_squares(moments_of(x, y))
    groups = [least_squares(moments_of(x[part], y[part])) for part in (slice(0, 15), slice(15, 90))]
    mean = torch.stack([group.weight for group in groups]).mean(0)
    bias = torch.stack([group.bias for group in groups]).mean(0)
    averaged = float((x @ mean.T + bias - y).square().mean())
    assert whole.residual < 0.97 * averaged
    close(whole.weight, LinearRegression().fit(x, y).coef_)


def test_impossible_requests_are_named() -> None:
    x, y = rows(0, 20, 3), rows(1, 20, 5)
    moments = moments_of(x, y)
    with pytest.raises(DataError, match="equal numbers"):
        identity(moments)
    with pytest.raises(DataError, match="semi-match"):
        permutation(moments)
    with pytest.raises(DataError, match="rank of 1 to 3"):
        reduced_rank(moments).at(4)
    with pytest.raises(DataError, match="0 or more"):
        ridge(moments, penalty=-1.0)
    with pytest.raises(DataError, match="2 rows"):
        least_squares(moments_of(x[:1], y[:1]))
    with pytest.raises(DataError, match="NaN"):
        least_squares(moments_of(x / 0, y))
