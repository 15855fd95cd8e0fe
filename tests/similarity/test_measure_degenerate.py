"""What is degenerate gives a stated value or an error that says what to do; never NaN, never an error of a library."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.similarity.representations import MEASURES, SAME_WIDTH, pair
from weightscape.errors import DataError
from weightscape.similarity.measure import Measure, UndefinedMeasure, find_measure
from weightscape.similarity.measures.minibatch_cka import StreamedCka

every_measure = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)


def value_or_error(measure: Measure, first: Any, second: Any) -> float | str:
    """The value, which must be a number in the range, or the message of an error that was meant."""
    labels = {"labels": torch.arange(len(first)) % 3} if measure.needs_labels else {}
    try:
        value = measure(first, second, **labels)
    except DataError as error:
        return str(error)
    assert math.isfinite(value)
    assert measure.low <= value <= measure.high
    return value


def degenerate() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    plain = torch.randn(30, 5, generator=random)
    dead = plain.clone()
    dead[:, 1:3] = 0
    return {
        "plain": plain,
        "zero": torch.zeros(30, 5),
        "constant": torch.full((30, 5), 3.7),
        "constant but for rounding": torch.full((30, 5), 0.1) + 1e-9 * torch.rand(30, 5, generator=random),
        "dead units": dead,
        "two rows only": plain[:2].repeat(15, 1),
        "one row differs": torch.cat([plain[:1], torch.ones(29, 5)]),
        "half precision": plain.half(),
        "bfloat": plain.bfloat16(),
        "integers": torch.randint(0, 3, (30, 5), generator=random),
        "booleans": plain > 0,
        "large mean": plain + 1e6,
        "tiny": plain * 1e-30,
        "vanishing": plain.double() * 1e-200,
        "huge": plain.double() * 1e50,
        "too large": plain.double() * 1e200,
        "rank one": plain[:, :1] @ plain[:1, :],
        "copies of a unit": plain[:, :1].repeat(1, 5),
        "one of a kind each": torch.eye(30)[:, :5],
        "not a number": plain.masked_fill(plain > 2, math.nan),
        "overflowed half": (plain * 1e5).half(),
    }


CASES = degenerate()


@every_measure
@pytest.mark.parametrize("case", CASES)
def test_no_degenerate_representation_gives_nan(measure: Measure, case: str) -> None:
    for first, second in ((CASES[case], CASES["plain"]), (CASES["plain"], CASES[case]), (CASES[case], CASES[case])):
        value_or_error(measure, first, second)


@every_measure
@settings(max_examples=15)
@given(count=st.integers(1, 9), width=st.integers(1, 12), seed=st.integers(0, 10**6), levels=st.integers(1, 3))
def test_few_samples_of_few_levels_never_give_nan(
    measure: Measure, count: int, width: int, seed: int, levels: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    first = torch.randint(0, levels, (count, width), generator=random)
    other = width if measure.name in SAME_WIDTH else 3
    second = torch.randint(0, levels, (count, other), generator=random).float()
    value_or_error(measure, first, second)


@every_measure
def test_too_few_samples_are_an_error_that_says_how_many_are_needed(measure: Measure) -> None:
    few = measure.minimum_samples - 1
    if not few:
        with pytest.raises(DataError, match="samples and units"):
            measure(torch.ones(0, 3), torch.ones(0, 3), **({"labels": []} if measure.needs_labels else {}))
        return
    first, second = pair(measure, seed=0, count=few)
    with pytest.raises(DataError, match=f"at least {measure.minimum_samples} samples.*received {few}"):
        measure(first, second)


@every_measure
def test_different_numbers_of_samples_are_refused_with_both_shapes(measure: Measure) -> None:
    labels = {"labels": torch.zeros(30)} if measure.needs_labels else {}
    with pytest.raises(DataError, match=r"\(30, 5\) and \(29, 5\): 30 and 29 samples.*without shuffling"):
        measure(CASES["plain"], CASES["plain"][:29], **labels)


def test_what_is_no_array_is_refused() -> None:
    for wrong in ("a path", None, [[1.0, 2.0], [3.0]], np.array(["a", "b"]), torch.ones(3, 2, dtype=torch.complex64)):
        with pytest.raises(DataError, match="Expected the second representation as a"):
            find_measure("linear-cka")(torch.ones(3, 2), wrong)


@every_measure
def test_maps_are_refused_with_the_way_to_flatten_them(measure: Measure) -> None:
    labels = {"labels": torch.zeros(4)} if measure.needs_labels else {}
    with pytest.raises(DataError, match=r"flatten\(1\)"):
        measure(torch.ones(4, 3, 2, 2), torch.ones(4, 3, 2, 2), **labels)


@every_measure
def test_half_precision_arrays_and_lists_are_taken(measure: Measure) -> None:
    first, second = pair(measure, seed=0)
    labels = {"labels": [index % 6 for index in range(60)]} if measure.needs_labels else {}
    expected = measure(first, second, **labels)
    assert measure(first.numpy(), second.tolist(), **labels) == pytest.approx(expected, abs=1e-12)
    assert measure(first.half(), second.half(), **labels) == pytest.approx(expected, abs=2e-2)
    assert measure(first.numpy().astype(np.float32), second.float(), **labels) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["mean-cca", "mean-squared-cca", "pwcca", "linear-regression"])
def test_more_units_than_samples_are_refused_where_the_value_would_be_one(name: str) -> None:
    random = torch.Generator().manual_seed(0)
    first, second = torch.randn(40, 60, generator=random), torch.randn(40, 60, generator=random)
    with pytest.raises(DataError, match="whatever the networks"):
        find_measure(name)(first, second)


def test_dead_units_leave_canonical_correlations_and_count_as_unmatched() -> None:
    first, second = pair(find_measure("mean-cca"), seed=0)
    dead = torch.cat([first, torch.zeros(60, 3, dtype=torch.float64)], dim=1)
    for name in ("mean-cca", "svcca", "pwcca", "linear-regression", "linear-cka", "procrustes", "rsa-pearson"):
        measure = find_measure(name)
        assert measure(dead, second) == pytest.approx(measure(first, second), abs=1e-9)
    assert find_measure("semi-match")(dead, dead) == pytest.approx(6 / 9)
    assert find_measure("one-to-one-match")(dead, dead) == pytest.approx(6 / 9)


@pytest.mark.parametrize(
    "name", ["linear-cka", "linear-cka-debiased", "rbf-cka", "procrustes", "mean-cca", "semi-match"]
)
def test_a_constant_layer_has_no_value_and_the_message_says_which(name: str) -> None:
    measure = find_measure(name)
    with pytest.raises(UndefinedMeasure, match="first representation is the same for all"):
        measure(CASES["constant"], CASES["plain"])
    with pytest.raises(UndefinedMeasure, match="second representation is the same for all"):
        measure(CASES["plain"], CASES["constant"])


def test_samples_that_are_all_equally_far_have_no_debiased_value() -> None:
    corners = torch.eye(8)
    with pytest.raises(UndefinedMeasure, match="equally far"):
        find_measure("linear-cka-debiased")(corners, torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))


def test_most_rows_equal_leave_no_bandwidth() -> None:
    with pytest.raises(UndefinedMeasure, match="median distance"):
        find_measure("rbf-cka")(CASES["one row differs"], CASES["plain"])


def test_neighbours_do_not_depend_on_the_order_of_duplicates() -> None:
    rows = CASES["plain"][:10].repeat(3, 1)
    other = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    measure = find_measure("knn-jaccard")
    expected = measure(rows, other, neighbours=4)
    for seed in range(5):
        order = torch.randperm(30, generator=torch.Generator().manual_seed(seed))
        assert measure(rows[order], other[order], neighbours=4) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(DataError, match="from 1 to 28 neighbours"):
        measure(rows, other, neighbours=29)


def test_a_network_without_mistakes_has_no_overlap_of_them() -> None:
    logits, labels = torch.eye(4), torch.arange(4)
    for name in ("mistakes-jaccard", "mistakes-kappa"):
        with pytest.raises(UndefinedMeasure, match="Take more samples"):
            find_measure(name)(logits, logits, labels=labels)


def test_confident_networks_have_a_large_and_finite_divergence() -> None:
    sure = torch.tensor([[1000.0, 0.0], [0.0, 1000.0]])
    assert find_measure("output-kl")(sure, sure.flip(0)) == pytest.approx(1000.0)
    assert find_measure("output-kl")(sure, sure) == 0.0


def test_options_are_checked_before_anything_is_computed() -> None:
    first, second = pair(find_measure("rbf-cka"), seed=0)
    with pytest.raises(DataError, match="Did you mean 'bandwidth'"):
        find_measure("rbf-cka")(first, second, bandwith=1.0)
    with pytest.raises(DataError, match="needs the option 'labels'"):
        find_measure("mistakes-kappa")(first, first)
    with pytest.raises(DataError, match="takes no options"):
        find_measure("linear-cka")(first, second, size=3)
    wrong: dict[str, dict[str, Any]] = {
        "rbf-cka": {"bandwidth": 0.0},
        "svcca": {"variance": 1.5},
        "minibatch-cka": {"batch_size": 3},
        "rsa-pearson": {"dissimilarity": "manhattan"},
        "semi-match": {"sign": "both"},
        "output-kl": {"temperature": -1.0},
    }
    for name, chosen in wrong.items():
        measure = find_measure(name)
        with pytest.raises(DataError, match=r"[Ee]xpected|at least"):
            measure(*pair(measure, seed=0), **chosen)


def test_a_stream_of_batches_refuses_what_does_not_fit() -> None:
    stream = StreamedCka()
    with pytest.raises(DataError, match="at least one batch"):
        stream.result()
    with pytest.raises(DataError, match="drop_last"):
        stream.add(torch.ones(3, 2), torch.ones(3, 2))
    with pytest.raises(DataError, match="same samples"):
        stream.add(torch.ones(8, 2), torch.ones(7, 2))
    stream.add(torch.ones(8, 2), torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(UndefinedMeasure):
        stream.result()
