"""What every measure declares holds, and what it does not declare does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.similarity.representations import MEASURES, options, orthogonal, pair
from weightscape.seeds import stream
from weightscape.similarity.measure import Invariance, Measure

SEEDS = st.integers(0, 10**6)
every_measure = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)


def shifted(rows: Tensor, seed: int) -> Tensor:
    return rows + 3 * torch.randn(rows.shape[1], generator=stream(seed, "noise", "shift"), dtype=torch.float64)


def scaled(rows: Tensor, seed: int) -> Tensor:
    return rows * 10 ** (20 * torch.rand((), generator=stream(seed, "noise", "scale"), dtype=torch.float64) - 10)


def mapped(rows: Tensor, seed: int) -> Tensor:
    width = rows.shape[1]
    stretch = torch.logspace(-1, 1, width, dtype=torch.float64)
    return rows @ (orthogonal(width, seed) * stretch @ orthogonal(width, seed + 1))


def reordered(rows: Tensor, seed: int) -> Tensor:
    order = torch.randperm(rows.shape[1] - 1, generator=stream(seed, "noise", "units")) + 1
    return rows[:, torch.cat([order, torch.zeros(1, dtype=torch.int64)])]  # the first unit moves in any case


CHANGES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "orthogonal": lambda rows, seed: rows @ orthogonal(rows.shape[1], seed),
    "isotropic-scale": scaled,
    "translation": shifted,
    "invertible-linear": mapped,
    "unit-permutation": reordered,
}


def changed(measure: Measure, invariance: Invariance, seed: int) -> list[tuple[float, float]]:
    """Values before and after a change of either representation, or of both alike."""
    first, second = pair(measure, seed=seed)
    given_options = options(measure)
    before = measure(first, second, **given_options)
    if invariance == "sample-permutation":
        order = torch.randperm(len(first), generator=stream(seed, "noise", "samples"))
        moved = dict(given_options)
        if "labels" in moved:
            moved["labels"] = moved["labels"][order]
        return [(before, measure(first[order], second[order], **moved))]
    change = CHANGES[invariance]
    return [
        (before, measure(change(first, seed), second, **given_options)),
        (before, measure(first, change(second, seed), **given_options)),
    ]


def test_every_invariance_that_can_be_declared_is_tested() -> None:
    assert {*CHANGES, "sample-permutation"} == set(get_args(Invariance))


@every_measure
@settings(max_examples=8)
@given(seed=SEEDS)
def test_declared_invariances_hold(measure: Measure, seed: int) -> None:
    for invariance in measure.invariances:
        for before, after in changed(measure, invariance, seed):
            assert after == pytest.approx(before, abs=1e-7), invariance


@every_measure
def test_what_is_not_declared_changes_the_value(measure: Measure) -> None:
    for invariance in set(get_args(Invariance)) - measure.invariances:
        changes = [abs(after - before) for seed in range(5) for before, after in changed(measure, invariance, seed)]
        assert max(changes) > 1e-4, invariance


@every_measure
@settings(max_examples=8)
@given(seed=SEEDS, count=st.integers(30, 60))
def test_values_are_in_the_declared_range(measure: Measure, seed: int, count: int) -> None:
    value = measure(*pair(measure, seed=seed, count=count), **options(measure, count))
    assert math.isfinite(value)
    assert measure.low <= value <= measure.high


@every_measure
@settings(max_examples=8)
@given(seed=SEEDS)
def test_a_representation_is_as_like_itself_as_can_be(measure: Measure, seed: int) -> None:
    first, second = pair(measure, seed=seed)
    for rows in (first, second):
        assert measure(rows, rows, **options(measure)) == pytest.approx(measure.best, abs=1e-6)


@every_measure
def test_a_related_representation_is_less_like_it(measure: Measure) -> None:
    first, second = pair(measure, seed=0)
    value, best = measure(first, second, **options(measure)), measure.best
    assert value < best - 1e-3 if measure.kind == "similarity" else value > best + 1e-3


@every_measure
@settings(max_examples=8)
@given(seed=SEEDS)
def test_symmetry_is_as_declared(measure: Measure, seed: int) -> None:
    first, second = pair(measure, seed=seed)
    there, back = (measure(one, other, **options(measure)) for one, other in ((first, second), (second, first)))
    if measure.symmetric:
        assert back == pytest.approx(there, abs=1e-9)
    else:
        assert abs(back - there) > 1e-9


@pytest.mark.parametrize("name", ["procrustes", "angular-procrustes", "orthogonal-distance"])
@settings(max_examples=20)
@given(seed=SEEDS)
def test_procrustes_distances_obey_the_triangle_inequality(name: str, seed: int) -> None:
    measure = next(one for one in MEASURES if one.name == name)
    first, second = pair(measure, seed=seed)
    third = pair(measure, seed=seed + 1)[0]
    assert measure(first, third) <= measure(first, second) + measure(second, third) + 1e-9
