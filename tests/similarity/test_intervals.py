"""Intervals hold the truth as often as they say; the plain bootstrap, which is not offered, does not."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.similarity.representations import MEASURES, options, pair
from weightscape.errors import DataError
from weightscape.seeds import stream
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.intervals import interval_of
from weightscape.similarity.leave_one_out import LEFT_OUT
from weightscape.similarity.measure import Measure, UndefinedMeasure, find_measure
from weightscape.similarity.networks import mean_over_pairs

DEBIASED = find_measure("linear-cka-debiased")
WIDE, SAMPLES = 1000, 200


def independent(seed: int, count: int = SAMPLES, width: int = WIDE) -> tuple[Tensor, Tensor]:
    random = stream(seed, "noise", "independent")
    return tuple(torch.randn(count, width, generator=random, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


def planted(seed: int, count: int, *, width: int = 10, noise: float = 1.0) -> tuple[Tensor, Tensor, float]:
    """Two layers that share three directions, and their linear CKA for infinitely many samples."""
    made = stream(0, "noise", "mixing")
    mixings = [torch.randn(3, width, generator=made, dtype=torch.float64) for _ in range(2)]
    random = stream(seed, "noise", "planted")
    common = torch.randn(count, 3, generator=random, dtype=torch.float64)
    x, y = (
        common @ mixing + noise * torch.randn(count, width, generator=random, dtype=torch.float64) for mixing in mixings
    )
    own = [mixing.T @ mixing + noise**2 * torch.eye(width, dtype=torch.float64) for mixing in mixings]
    truth = (mixings[0].T @ mixings[1]).square().sum() / (own[0].norm() * own[1].norm())
    return x, y, float(truth)


def test_the_plain_bootstrap_is_badly_wrong_where_ours_holds_the_truth() -> None:
    """Independent layers: resampling with replacement puts equal rows into both, which look like agreement."""
    x, y = independent(0)
    grams = Geometry(gram=x @ x.T), Geometry(gram=y @ y.T)
    random = stream(0, "noise", "bootstrap")
    resampled = [
        DEBIASED.from_grams(*(gram.rows(rows) for gram in grams))
        for rows in (torch.randint(0, SAMPLES, (SAMPLES,), generator=random) for _ in range(30))
    ]
    assert sum(resampled) / len(resampled) == pytest.approx(0.83, abs=0.02)
    assert min(resampled) > 0.7  # not one resample near the truth
    for method in ("jackknife", "subsampling"):
        found = interval_of(DEBIASED, *grams, method=method)
        assert abs(found.value) < 0.02
        assert found.low < 0 < found.high
        assert found.high - found.low < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["jackknife", "subsampling"])
def test_intervals_of_independent_wide_layers_hold_zero(method: str) -> None:
    held = 0
    for seed in range(40):
        x, y = independent(seed)
        found = interval_of(DEBIASED, x, y, method=method, draws=60)  # type: ignore[arg-type]
        held += found.low <= 0 <= found.high
    assert held >= 35  # at 95 % fewer are seen once in two hundred times; these intervals are wider


@pytest.mark.parametrize("method", ["jackknife", pytest.param("subsampling", marks=pytest.mark.slow)])
def test_intervals_hold_a_planted_truth_as_often_as_they_say(method: str) -> None:
    held, widths = 0, []
    for seed in range(100):
        x, y, truth = planted(seed, 80)
        found = interval_of(DEBIASED, x, y, method=method, draws=60)  # type: ignore[arg-type]
        held += found.low <= truth <= found.high
        widths.append(found.high - found.low)
    assert 0.88 <= held / 100 <= 0.995
    assert max(widths) < 0.5  # and not by being too wide to say anything


def test_the_standard_error_is_that_of_repeated_samples() -> None:
    repeated = [(DEBIASED(*planted(seed, 120)[:2]), seed) for seed in range(200)]
    spread = torch.tensor([value for value, _ in repeated]).std()
    errors = [interval_of(DEBIASED, *planted(seed, 120)[:2]).stderr for seed in range(50)]
    assert sum(errors) / len(errors) == pytest.approx(float(spread), rel=0.2)


def test_the_debiased_estimate_is_centred_on_the_truth_and_the_biased_one_is_not() -> None:
    found = [
        (DEBIASED(x, y), find_measure("linear-cka")(x, y))
        for x, y, _ in (planted(seed, 40, width=60, noise=4.0) for seed in range(200))
    ]
    truth = planted(0, 40, width=60, noise=4.0)[2]
    debiased, biased = (torch.tensor(values) for values in zip(*found, strict=True))
    assert float(debiased.mean()) == pytest.approx(truth, abs=4 * float(debiased.std()) / math.sqrt(200) + 0.01)
    assert float(biased.mean()) > truth + 0.2


@pytest.mark.parametrize("name", LEFT_OUT)
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), count=st.integers(6, 25))
def test_values_without_each_sample_are_those_of_leaving_it_out(name: str, seed: int, count: int) -> None:
    x, y = pair(find_measure(name), seed=seed, count=count)
    found = LEFT_OUT[name](Geometry.of_activations(x), Geometry(gram=y @ y.T))
    for index in range(count):
        kept = torch.arange(count) != index
        assert float(found[index]) == pytest.approx(find_measure(name)(x[kept], y[kept]), abs=1e-9)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_every_measure_has_an_interval_around_its_value(measure: Measure) -> None:
    x, y = pair(measure, seed=0)
    chosen = options(measure)
    if measure.name == "minibatch-cka":
        chosen = {"batch_size": 8}
    if measure.needs_labels:
        chosen = {"labels": torch.where(torch.arange(60) % 3 == 0, x.argmax(dim=1), y.argmin(dim=1))}
    found = interval_of(measure, x, y, **chosen)
    assert measure.low <= found.low < found.value < found.high <= measure.high
    assert found.value == pytest.approx(measure(x, y, **chosen))
    assert (found.count, found.biased, found.method) == (60, measure.biased, "jackknife")
    if measure.biased:
        with pytest.raises(DataError, match="depends on the number of samples"):
            interval_of(measure, x, y, method="subsampling", **chosen)
    else:
        halves = interval_of(measure, x, y, method="subsampling", draws=40, **chosen)
        assert measure.low <= halves.low < halves.high <= measure.high


def test_intervals_of_gram_matrices_are_those_of_the_activations() -> None:
    x, y, _ = planted(0, 40)
    grams = Geometry(gram=x @ x.T), Geometry(gram=y @ y.T)
    for measure in ("linear-cka", "linear-cka-debiased", "procrustes", "rsa-spearman", "svcca"):
        one, other = interval_of(measure, x, y), interval_of(measure, *grams)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-7)


def test_the_interval_repeats_with_its_seed_and_widens_with_its_level() -> None:
    x, y, _ = planted(0, 40)
    once, again, other = (interval_of(DEBIASED, x, y, method="subsampling", draws=40, seed=seed) for seed in (1, 1, 2))
    assert once == again
    assert once != other
    narrow, wide = (interval_of(DEBIASED, x, y, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_what_cannot_have_an_interval_is_refused() -> None:
    x, y, _ = planted(0, 40)
    with pytest.raises(DataError, match="bootstrap of samples is wrong"):
        interval_of(DEBIASED, x, y, method="bootstrap")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="level"):
        interval_of(DEBIASED, x, y, level=95)
    with pytest.raises(DataError, match="20 draws"):
        interval_of(DEBIASED, x, y, method="subsampling", draws=5)
    with pytest.raises(DataError, match="leaves 3 of 4"):
        interval_of(DEBIASED, x[:4], y[:4])
    with pytest.raises(DataError, match="one of each"):
        interval_of(DEBIASED, x, Geometry(gram=y @ y.T))
    alone = torch.zeros(6, 2)
    alone[0] = 1
    with pytest.raises(UndefinedMeasure, match="Without some"):
        interval_of("linear-cka", alone, x[:6])


def test_pairs_that_share_networks_are_not_independent() -> None:
    """Each network brings something of its own to all of its pairs: the usual error of a mean is far too small."""
    networks, held, held_naive, tries = 8, 0, 0, 200
    for seed in range(tries):
        random = stream(seed, "noise", "networks")
        own = torch.randn(networks, generator=random, dtype=torch.float64)
        first, second = zip(*((i, j) for i in range(networks) for j in range(networks) if i != j), strict=True)
        values = own[list(first)] + own[list(second)] + 0.3 * torch.randn(len(first), generator=random)
        found = mean_over_pairs(values.tolist(), first, second)
        held += found.low <= 0 <= found.high
        held_naive += abs(float(values.mean())) <= 1.96 * float(values.std()) / math.sqrt(len(first))
    assert 0.9 <= held / tries <= 0.99
    assert held_naive / tries < 0.6
