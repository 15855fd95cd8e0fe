from __future__ import annotations

import itertools
import math

import numpy
import pytest
from scipy.stats import t

from weightscape.errors import WeightscapeError
from weightscape.similarity.networks import mean_over_pairs


def ordered(networks: int) -> tuple[list[int], list[int]]:
    pairs = list(itertools.permutations(range(networks), 2))
    return [one for one, _ in pairs], [other for _, other in pairs]


@pytest.mark.parametrize("networks", [3, 4, 9])
def test_a_sum_of_what_two_networks_bring_has_the_standard_error_of_the_mean_network(networks: int) -> None:
    draws = numpy.random.default_rng(networks)
    fronts, backs = draws.normal(size=networks), draws.normal(size=networks)
    first, second = ordered(networks)
    found = mean_over_pairs([fronts[i] + backs[j] for i, j in zip(first, second, strict=True)], first, second)
    stderr = (fronts + backs).std(ddof=1) / math.sqrt(networks)
    assert found.mean == pytest.approx(fronts.mean() + backs.mean())
    assert found.stderr == pytest.approx(stderr)
    assert found.high - found.mean == pytest.approx(t.ppf(0.975, networks - 1) * stderr)
    assert (found.pairs, found.networks) == (networks * (networks - 1), networks)


def test_two_populations_add_their_variances() -> None:
    draws = numpy.random.default_rng(0)
    fronts, backs = draws.normal(size=3), draws.normal(size=5)
    pairs = list(itertools.product(range(3), range(5)))
    values = [fronts[i] + backs[j] for i, j in pairs]
    found = mean_over_pairs(values, [f"f{i}" for i, _ in pairs], [f"b{j}" for _, j in pairs])
    assert found.stderr == pytest.approx(math.sqrt(fronts.var(ddof=1) / 3 + backs.var(ddof=1) / 5))
    assert found.networks == 8


def test_networks_with_themselves_have_the_usual_standard_error() -> None:
    values = [1.0, 4.0, 2.0, 7.0]
    found = mean_over_pairs(values, "abcd", "abcd")
    assert found.stderr == pytest.approx(numpy.std(values, ddof=1) / 2)


def test_repetitions_of_one_pair_count_once() -> None:
    found = mean_over_pairs([0.0, 2.0, 5.0], "aab", "bba")
    assert (found.mean, found.pairs) == (3.0, 2)


@pytest.mark.parametrize(("first", "second"), [("ab", "ba"), ("a", "b")])
def test_two_networks_have_no_interval(first: str, second: str) -> None:
    found = mean_over_pairs([1.0] * len(first), first, second)
    assert found.mean == 1.0
    assert math.isnan(found.low)
    assert math.isnan(found.stderr)


def test_a_gap_is_left_out_and_nothing_at_all_is_refused() -> None:
    first, second = ordered(4)
    values = [1.0] * 11 + [math.nan]
    assert mean_over_pairs(values, first, second).pairs == 11
    with pytest.raises(WeightscapeError, match="received none"):
        mean_over_pairs([math.nan], "a", "b")
    with pytest.raises(WeightscapeError, match="2 values"):
        mean_over_pairs([1.0, 2.0], "a", "b")


def test_the_interval_over_networks_covers_where_one_over_pairs_does_not() -> None:
    draws = numpy.random.default_rng(1)
    first, second = ordered(5)
    covered = {"networks": 0, "pairs": 0}
    for _ in range(400):
        fronts, backs, noise = draws.normal(size=5), draws.normal(size=5), 0.3 * draws.normal(size=20)
        values = fronts[first] + backs[second] + noise
        found = mean_over_pairs(values, first, second)
        covered["networks"] += found.low <= 0 <= found.high
        half = t.ppf(0.975, 19) * values.std(ddof=1) / math.sqrt(20)
        covered["pairs"] += abs(values.mean()) <= half
    assert covered["networks"] >= 0.92 * 400
    assert covered["pairs"] <= 0.8 * 400
