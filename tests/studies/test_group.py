"""Tasks computed together: each has its own result, failure and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.studies import group_toys
from tests.studies.test_execution import planned
from weightscape.studies.executors import agenda
from weightscape.studies.executors.execution import Run, run_plan
from weightscape.studies.plan import Plan
from weightscape.studies.tables import stage_table
from weightscape.studies.workspace.store import Store

STAGES = "  grown: {run: toy-grow, with: {kind: KIND}, grid: {seed: SEEDS}}\n"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    group_toys.CALLS.clear()
    return Store(tmp_path / "runs")


def garden(seeds: list[int], kind: str = "fern") -> Plan:
    return planned(STAGES.replace("KIND", kind).replace("SEEDS", str(seeds)))


def run(plan: Plan, store: Store, **options: Any) -> Run:
    return run_plan(plan, store, **{"stack": "always", **options})


def heights(plan: Plan, done: Run, store: Store) -> list[Any]:
    table = stage_table(plan, "grown", done.outcomes, store)
    return list(table["height"]) if "height" in table else []


@pytest.mark.parametrize("workers", [0, 2])
def test_one_computation_makes_a_result_for_every_task(store: Store, workers: int) -> None:
    plan = garden([1, 2, 3, 4, 5])
    done = run(plan, store, workers=workers)
    assert done.count("done") == 5
    assert heights(plan, done, store) == [2, 4, 6, 8, 10]
    groups = sorted(record.content["environment"]["together"] for record in store.records())
    # Two processes divide the tasks: one takes three, the other what is left.
    assert groups == (["one of 2"] * 2 + ["one of 3"] * 3 if workers else ["one of 5"] * 5)
    assert not list((store.folder / "partial").iterdir())


def test_the_results_have_the_keys_and_tables_of_tasks_computed_alone(tmp_path: Path) -> None:
    plan = garden([1, 2, 3])
    tables = []
    for stack in ("always", "never", "auto"):
        store = Store(tmp_path / stack)
        tables.append(stage_table(plan, "grown", run(plan, store, stack=stack).outcomes, store))
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_the_rule_looks_at_the_device_alone(store: Store) -> None:
    run(garden([1, 2]), store, stack="auto", device="cpu")
    assert group_toys.CALLS == [[1], [2]]
    together = group_toys.grow.together
    assert together is not None
    assert together.is_wanted("cuda:1", "auto")
    assert not together.is_wanted("cuda:1", "never")
    assert not together.is_wanted("cpu", "auto")


def test_only_tasks_of_one_label_are_computed_together(store: Store) -> None:
    plan = planned(
        "  ferns: {run: toy-grow, grid: {seed: [1, 2]}}\n"
        "  mosses: {run: toy-grow, with: {kind: moss}, grid: {seed: [3, 4]}}\n"
        "  loners: {run: toy-grow, with: {kind: loner}, grid: {seed: [5, 6]}}\n"
    )
    assert run(plan, store).count("done") == 6
    assert sorted(sorted(seeds) for seeds in group_toys.CALLS) == [[1, 2], [3, 4], [5], [6]]


def test_a_group_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "MOST_TOGETHER", 2)
    assert run(garden([1, 2, 3, 4, 5]), store).count("done") == 5
    assert sorted(len(seeds) for seeds in group_toys.CALLS) == [1, 2, 2]


def test_what_is_there_already_is_not_computed_again(store: Store) -> None:
    run(garden([1, 2]), store)
    group_toys.CALLS.clear()
    done = run(garden([1, 2, 3, 4]), store)
    assert (done.count("cached"), done.count("done")) == (2, 2)
    assert [sorted(seeds) for seeds in group_toys.CALLS] == [[3, 4]]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_member_that_fails_fails_alone(store: Store, workers: int) -> None:
    plan = garden([1, 13, 2])
    done = run(plan, store, workers=workers)
    statuses = [done.outcomes[row.key].status for row in plan.stages["grown"].rows]
    assert statuses == ["done", "failed", "done"]
    failed = plan.stages["grown"].rows[1].key
    assert done.outcomes[failed].message == "WeightscapeError: withered"
    assert "withered" in store.log_file(failed).read_text()


@pytest.mark.parametrize(
    ("kind", "message", "computed"), [("poison", "RuntimeError: all wither", 0), ("forgotten", "returned no result", 1)]
)
def test_a_computation_that_fails_fails_for_all_that_have_no_result(
    store: Store, kind: str, message: str, computed: int
) -> None:
    done = run(garden([1, 2, 3], kind), store)
    assert (done.count("done"), done.count("failed")) == (computed, 3 - computed)
    assert all(message in outcome.message for outcome in done.outcomes.values() if outcome.status == "failed")


def test_a_stopped_group_goes_on_from_its_folder(store: Store) -> None:
    plan = garden([1, 2, 3], "slow")
    stopped = run(plan, store)
    assert stopped.interrupted
    assert stopped.count("waiting") == 3
    done = run(plan, store)
    assert heights(plan, done, store) == [2, 4, 6]
    assert not list((store.folder / "partial").iterdir())


def test_a_task_that_another_process_computes_is_left_to_it(store: Store) -> None:
    plan = garden([1, 2, 3])
    keys = [row.key for row in plan.stages["grown"].rows]
    other = Store(store.folder)
    taken: list[str] = []

    def listen(event: Any) -> None:
        if event.text == "another run computes it" and not taken:
            taken.append(event.task.key)
            claim.__exit__(None, None, None)

    claim = other.claimed(keys[1])
    assert claim.__enter__()
    done = run(plan, store, listen=listen)
    assert taken == [keys[1]]
    assert done.count("done") == 3
    assert [sorted(seeds) for seeds in group_toys.CALLS] == [[1, 3], [2]]
