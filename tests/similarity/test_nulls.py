"""Shuffled pairs are what unrelated layers score, and p-values say how rare the real pairs are among them."""

from __future__ import annotations

import pytest
import torch

from tests.similarity.representations import MEASURES, options, pair
from weightscape.errors import DataError
from weightscape.seeds import stream
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.measure import Measure, find_measure
from weightscape.similarity.nulls import shuffled_pairs
from weightscape.similarity.similarity import similarity_of


def noise(seed: int, *, count: int = 60, width: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    random = stream(seed, "noise", "null")
    return torch.randn(count, width, generator=random), torch.randn(count, width, generator=random)


@pytest.mark.parametrize("measure", [one for one in MEASURES if not one.needs_labels], ids=lambda measure: measure.name)
def test_shuffles_are_the_measure_of_shuffled_rows(measure: Measure) -> None:
    """Also where decompositions are reordered instead of made again."""
    x, y = pair(measure, seed=0)
    chosen = options(measure)
    random = stream(3, "subset", "null")
    direct = [measure(x, y[torch.randperm(60, generator=random)], **chosen) for _ in range(12)]
    found = shuffled_pairs(measure, x, y, draws=12, seed=3, **chosen)
    assert found.mean == pytest.approx(sum(direct) / 12, abs=1e-8)
    assert found.low <= found.mean <= found.high
    if measure.sums == "grams":
        grams = Geometry(gram=x @ x.T), Geometry(gram=y @ y.T)
        assert shuffled_pairs(measure, *grams, draws=12, seed=3, **chosen).mean == pytest.approx(found.mean, abs=1e-8)


@pytest.mark.parametrize("name", ["linear-cka", "linear-cka-debiased", "procrustes", "semi-match"])
def test_p_values_of_unrelated_layers_are_uniform_and_of_related_ones_small(name: str) -> None:
    found = [shuffled_pairs(name, *noise(seed, count=30), draws=19).p_value for seed in range(40)]
    assert 0.33 < sum(found) / len(found) < 0.7
    assert sum(value <= 0.1 for value in found) <= 11  # 4 are expected
    x, _ = noise(0)
    related = shuffled_pairs(name, x, x + 0.5 * noise(1)[0], draws=99)
    assert related.p_value == 0.01  # never zero: the pairs themselves are one of a hundred


def test_the_null_of_a_biased_measure_is_far_from_zero_and_of_a_debiased_one_is_not() -> None:
    x, y = noise(0, count=100, width=400)
    biased, debiased = (shuffled_pairs(name, x, y, draws=50) for name in ("linear-cka", "linear-cka-debiased"))
    assert biased.mean > 0.75
    assert abs(debiased.mean) < 0.01
    assert biased.low < biased.value < biased.high


def test_measures_of_labels_have_their_null_elsewhere() -> None:
    logits = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(DataError, match="shared_mistakes"):
        shuffled_pairs("mistakes-kappa", logits, logits.flip(0), labels=torch.arange(30) % 3)
    with pytest.raises(DataError, match="at least one shuffle"):
        shuffled_pairs("linear-cka", logits, logits, draws=0)


def test_one_call_gives_value_interval_and_null() -> None:
    x, y = pair(find_measure("linear-cka"), seed=0)
    found = similarity_of(x, y, interval="jackknife", null=20)
    assert (found.measure, found.kind, found.biased, found.count) == ("linear-cka-debiased", "similarity", False, 60)
    assert found.low is not None
    assert found.high is not None
    assert found.low < float(found) < found.high
    assert found.null == pytest.approx(0, abs=0.1)
    assert found.p_value == pytest.approx(1 / 21)
    assert list(found.to_frame()) == list(found.metrics())
    plain = similarity_of(x, y, "l2") if x.shape == y.shape else similarity_of(x, y, "procrustes")
    assert (plain.low, plain.null, plain.interval) == (None, None, None)
