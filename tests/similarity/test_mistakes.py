from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, jaccard_score

from weightscape.errors import DataError
from weightscape.similarity.mistakes import shared_mistakes


def classifiers(count: int, seed: int, shared: float = 0.5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Labels, and two classifiers that fail on a fifth of the samples, some of them the same."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=generator)
    hard = torch.rand(count, generator=generator) < 0.2
    sides = []
    for _ in range(2):
        own = torch.rand(count, generator=generator) < 0.2
        wrong = torch.where(torch.rand(count, generator=generator) < shared, hard, own)
        sides.append(torch.where(wrong, (labels + torch.randint(1, 4, (count,), generator=generator)) % 4, labels))
    return sides[0], sides[1], labels


@given(st.integers(0, 10**6), st.integers(20, 300))
def test_counts_kappa_and_jaccard_are_those_of_an_independent_library(seed: int, count: int) -> None:
    first, second, labels = classifiers(count, seed)
    found = shared_mistakes(first, second, labels)
    wrong = (first != labels).numpy(), (second != labels).numpy()
    counts = (found.both_wrong, found.only_first_wrong, found.only_second_wrong, found.both_right)
    sides = [(wrong[0], wrong[1]), (wrong[0], ~wrong[1]), (~wrong[0], wrong[1]), (~wrong[0], ~wrong[1])]
    assert counts == tuple((one & two).sum() for one, two in sides)
    if found.jaccard is not None:
        assert found.jaccard == pytest.approx(jaccard_score(*wrong))
    if found.kappa is not None:
        assert found.kappa == pytest.approx(cohen_kappa_score(*wrong), abs=1e-12)
    assert found.agreement == pytest.approx(float((first == second).double().mean()))


def test_the_standard_error_of_kappa_is_that_of_a_bootstrap() -> None:
    first, second, labels = classifiers(2000, 3)
    found = shared_mistakes(first, second, labels)
    generator = torch.Generator().manual_seed(0)
    kappas = []
    for _ in range(400):
        rows = torch.randint(0, 2000, (2000,), generator=generator)
        kappas.append(shared_mistakes(first[rows], second[rows], labels[rows]).kappa)
    assert found.kappa_stderr == pytest.approx(float(torch.tensor(kappas).std()), rel=0.1)
    assert found.kappa_low < found.kappa < found.kappa_high


def test_independent_mistakes_are_within_the_interval_of_chance_as_often_as_it_says() -> None:
    inside, zero = 0, 0
    for seed in range(300):
        found = shared_mistakes(*classifiers(400, seed, shared=0.0))
        inside += found.both_wrong_low <= found.both_wrong <= found.both_wrong_high
        zero += found.kappa_low <= 0 <= found.kappa_high
    assert inside / 300 > 0.94  # at least 95 % for a whole number, less what 300 draws can miss
    assert zero / 300 > 0.9


def test_equal_classifiers_share_all_mistakes() -> None:
    first, _, labels = classifiers(200, 0)
    found = shared_mistakes(first, first, labels)
    assert (found.kappa, found.jaccard, found.agreement, found.same_wrong_class) == (1.0, 1.0, 1.0, 1.0)
    assert found.kappa_stderr == pytest.approx(0, abs=1e-9)
    assert found.both_wrong > found.both_wrong_high


def test_classifiers_that_avoid_each_others_mistakes_have_negative_kappa() -> None:
    labels = torch.zeros(100, dtype=torch.int64)
    first, second = labels.clone(), labels.clone()
    first[:50], second[50:] = 1, 1
    found = shared_mistakes(first, second, labels)
    assert found.kappa == pytest.approx(-1)
    assert (found.jaccard, found.agreement) == (0, 0)


def test_what_is_not_defined_is_missing_and_not_a_number_that_misleads() -> None:
    labels = torch.arange(10)
    found = shared_mistakes(labels, labels, labels)
    assert (found.jaccard, found.kappa, found.same_wrong_class) == (None, None, None)
    assert not any(isinstance(value, float) and math.isnan(value) for value in found.metrics().values())
    assert found.table()["second right"].tolist() == [10, 0]


def test_predictions_of_different_samples_are_refused() -> None:
    with pytest.raises(DataError, match="same samples"):
        shared_mistakes(torch.zeros(3), torch.zeros(4), torch.zeros(4))
    with pytest.raises(DataError):
        shared_mistakes(torch.zeros(0), torch.zeros(0), torch.zeros(0))
