"""Which task comes next: laws of the order, for any graph and any order of endings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.studies.executors.agenda import Agenda
from weightscape.studies.executors.outcomes import Outcome
from weightscape.studies.plan import Plan

Graph = dict[str, list[str]]


def agenda_of(graph: Graph, known: dict[str, str] | None = None) -> Agenda:
    tasks = {
        key: SimpleNamespace(key=key, upstream=lambda needs=needs: [SimpleNamespace(key=need) for need in needs])
        for key, needs in graph.items()
    }
    outcomes = {key: Outcome(cast(Any, (known or {}).get(key, "waiting"))) for key in graph}
    return Agenda(cast(Plan, SimpleNamespace(tasks=tasks)), outcomes)


graphs = st.lists(st.lists(st.integers(0, 11), max_size=3), max_size=12).map(
    lambda needs: {
        f"t{place:02}": [f"t{need:02}" for need in chosen if need < place] for place, chosen in enumerate(needs)
    }
)


def finish(agenda: Agenda, failing: set[str], at_a_time: int, choose: Any) -> list[str]:
    """Run to the end with several tasks at a time that end in a chosen order; return the order of the beginnings."""
    begun: list[str] = []
    running: list[Any] = []
    while not agenda.is_finished:
        while len(running) < at_a_time and (group := agenda.next_group()):
            running += group
            begun += [task.key for task in group]
        task = running.pop(choose(len(running)))
        agenda.settle(task, Outcome("failed" if task.key in failing else "done"))
    assert not running
    return begun


@given(graphs, st.sets(st.integers(0, 11)), st.integers(1, 4), st.data())
def test_outcomes_do_not_depend_on_what_ends_first(
    graph: Graph, numbers: set[int], at_a_time: int, data: st.DataObject
) -> None:
    failing = {f"t{number:02}" for number in numbers}
    one_by_one, several = agenda_of(graph), agenda_of(graph)
    finish(one_by_one, failing, 1, lambda count: 0)
    begun = finish(several, failing, at_a_time, lambda count: data.draw(st.integers(0, count - 1)))
    assert several.outcomes == one_by_one.outcomes
    assert len(begun) == len(set(begun))
    for place, key in enumerate(begun):
        assert set(graph[key]) <= set(begun[:place])
    for key, outcome in several.outcomes.items():
        bad = any(several.outcomes[need].status in {"failed", "blocked"} for need in graph[key])
        assert (outcome.status == "blocked") == bad
        assert (key in begun) == (not bad)


def test_tasks_come_in_the_order_of_the_plan_as_soon_as_their_inputs_are_there() -> None:
    agenda = agenda_of({"a": [], "b": [], "c": [], "of a": ["a"], "of a and b": ["a", "b"]})
    (first,), (second,) = agenda.next_group(), agenda.next_group()
    assert (first.key, second.key) == ("a", "b")
    agenda.settle(first, Outcome("done"))
    (third,), (fourth,) = agenda.next_group(), agenda.next_group()
    assert (third.key, fourth.key) == ("c", "of a"), "not stage by stage: b still runs"
    assert agenda.next_group() == ()
    agenda.settle(second, Outcome("done"))
    assert [task.key for task in agenda.next_group()] == ["of a and b"]


def test_known_results_and_those_of_other_studies_are_not_waited_for() -> None:
    agenda = agenda_of({"a": [], "b": ["a", "elsewhere"]}, {"a": "cached"})
    assert [task.key for task in agenda.next_group()] == ["b"]


def test_what_another_run_computes_comes_again_and_holds_up_nothing() -> None:
    agenda = agenda_of({"a": [], "b": [], "of a": ["a"]})
    (first,) = agenda.next_group()
    agenda.postpone(first)
    (second,) = agenda.next_group()
    assert second.key == "b"
    assert (agenda.next_group(), agenda.has_postponed) == ((), True)
    agenda.resume_postponed()
    (again,) = agenda.next_group()
    assert again.key == "a"
    agenda.settle(again, Outcome("cached"))
    assert [task.key for task in agenda.next_group()] == ["of a"]


def test_a_thousand_tasks_in_a_row_that_cannot_start_are_blocked() -> None:
    graph = {f"t{place:04}": [f"t{place - 1:04}"] if place else [] for place in range(3000)}
    agenda = agenda_of(graph)
    (first,) = agenda.next_group()
    settled = agenda.settle(first, Outcome("failed"))
    assert agenda.is_finished
    assert [task.key for task in settled] == list(graph)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_the_reason_given_is_the_first_in_the_order_of_the_inputs(order: str) -> None:
    agenda = agenda_of({"a": [], "b": [], "of both": ["b", "a"]})
    tasks = {task.key: task for task in (*agenda.next_group(), *agenda.next_group())}
    for key in order:
        agenda.settle(tasks[key], Outcome("failed"))
    assert agenda.outcomes["of both"] == Outcome("blocked", "needs b, which failed")
