"""How far each step goes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.errors import TrainingError
from weightscape.transfer.schedule import fractions, plan_points


@given(st.integers(1, 60), st.sampled_from(["uniform", "cosine"]))
def test_fractions_rise_from_zero_to_exactly_one(steps: int, schedule: str) -> None:
    values = fractions(steps, schedule)  # type: ignore[arg-type]
    assert len(values) == steps + 1
    assert (values[0], values[-1]) == (0.0, 1.0)
    assert all(left < right for left, right in pairwise(values))


@given(st.integers(1, 60))
def test_cosine_has_the_closed_form_of_its_sum(steps: int) -> None:
    # sum_{t<k} cos(pi t / K) = (1 - cos(k x) + cos((k - 1) x) - cos(x)) / (2 - 2 cos(x)) with x = pi / K
    angle = math.pi / steps

    def partial(k: int) -> float:
        top = 1 - math.cos(angle) - math.cos(k * angle) + math.cos((k - 1) * angle)
        return k + top / (2 - 2 * math.cos(angle))

    expected = [partial(k) / partial(steps) for k in range(steps + 1)]
    assert fractions(steps, "cosine") == pytest.approx(expected, abs=1e-12)


def test_cosine_of_ten_steps_is_the_published_one() -> None:
    published = [0, 0.182, 0.359, 0.524, 0.668, 0.787, 0.878, 0.941, 0.978, 0.996, 1]
    assert fractions(10, "cosine") == pytest.approx(published, abs=6e-4)


def test_uniform_steps_are_equal() -> None:
    assert fractions(4, "uniform") == (0.0, 0.25, 0.5, 0.75, 1.0)


def test_on_an_actual_trajectory_one_step_per_stretch_hits_every_snapshot() -> None:
    for schedule in ("uniform", "cosine"):
        points = plan_points(3, 3, schedule)  # type: ignore[arg-type]
        assert [(point.anchor, point.weight) for point in points] == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0)]


@given(st.integers(1, 5), st.integers(1, 6))
def test_every_stretch_has_its_share_of_the_steps(stretches: int, each: int) -> None:
    points = plan_points(stretches, stretches * each, "uniform")
    assert [point.step for point in points] == list(range(stretches * each + 1))
    assert [point.fraction for point in points] == pytest.approx(fractions(stretches * each, "uniform"))
    assert sum(point.weight == 1 for point in points[1:]) == stretches


def test_steps_that_cannot_be_divided_are_refused_with_the_number_that_can() -> None:
    with pytest.raises(TrainingError, match=r"multiple of 15 .* received 20\. 15 makes"):
        plan_points(15, 20, "uniform")
