from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.errors import TrainingError
from weightscape.step import Step
from weightscape.training.keeping import kept_steps


def _texts(keep: object, *, epochs: int, iterations: int) -> dict[int, str]:
    return {total: str(step) for total, step in kept_steps(keep, epochs=epochs, iterations=iterations).items()}  # type: ignore[arg-type]


def test_ends_are_initialisation_and_the_last_epoch() -> None:
    assert _texts("ends", epochs=3, iterations=10) == {0: "0ep", 30: "3ep"}
    assert _texts("ends", epochs=0, iterations=10) == {0: "0ep"}


def test_epochs_include_initialisation() -> None:
    assert _texts("epochs", epochs=2, iterations=10) == {0: "0ep", 10: "1ep", 20: "2ep"}


def test_steps_within_epochs_are_named_by_epoch_and_iteration() -> None:
    keep = (Step.parse("500it"), Step.parse("12ep50it"))
    assert _texts(keep, epochs=15, iterations=430) == {500: "1ep70it", 5210: "12ep50it"}


@given(totals=st.sets(st.integers(0, 60), min_size=1))
def test_the_order_of_steps_is_the_order_of_time_however_they_are_written(totals: set[int]) -> None:
    keep = tuple(Step(iteration=total) if total % 2 else Step(*divmod(total, 12)) for total in totals)
    kept = kept_steps(keep, epochs=5, iterations=12)
    assert set(kept) == totals
    assert sorted(kept, key=lambda total: kept[total]) == sorted(totals)


@pytest.mark.parametrize("beyond", ["4ep", "31it", "3ep1it", "2ep11it"])
def test_a_step_beyond_the_run_is_named(beyond: str) -> None:
    with pytest.raises(TrainingError, match=beyond):
        kept_steps((Step(), Step.parse(beyond)), epochs=3, iterations=10)


def test_keeping_nothing_is_an_error() -> None:
    with pytest.raises(TrainingError, match="at least one step"):
        kept_steps((), epochs=3, iterations=10)
