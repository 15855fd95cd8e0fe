"""Runs: cached, failed, blocked, interrupted; the store; the tables."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import pandas
import pytest
import torch
from filelock import FileLock

from tests.studies import toy
from weightscape.errors import Interrupted, StoreError
from weightscape.operation import Context, Operation, operation
from weightscape.studies.document import read_text
from weightscape.studies.executors.execution import Event, run_plan
from weightscape.studies.executors.ledger import ELSEWHERE
from weightscape.studies.plan import Plan
from weightscape.studies.planning import plan_study
from weightscape.studies.sources import Sources
from weightscape.studies.specification import validate_study
from weightscape.studies.tables import detail_table, flattened, stage_table, write_study
from weightscape.studies.workspace.store import Store

STAGES = """
  made: {run: toy-make, with: {size: 3}, grid: {seed: [0, 1]}}
  joined: {run: toy-join, from: {source: made.lines, target: made.lines}, where: source.seed < target.seed}
"""


def planned(stages: str = STAGES, store: Store | None = None, name: str = "t") -> Plan:
    return plan_study(validate_study(read_text(f"study: {name}\nstages:\n{stages}")), sources=Sources(store))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_a_run_computes_each_task_once(store: Store) -> None:
    toy.CALLS.clear()
    assert run_plan(planned(), store).count("done") == 3
    assert run_plan(planned(), store).count("cached") == 3
    assert toy.CALLS == ["make 0", "make 1"]


def test_the_result_is_the_sum_it_should_be(store: Store) -> None:
    plan = planned()
    run_plan(plan, store)
    (row,) = plan.stages["joined"].rows
    record = store.get(row.key)
    assert record is not None
    assert record.metrics == {"total": pytest.approx((0 + 0.1 + 0.2) + (1 + 1.1 + 1.2) + 3)}


def test_a_failure_blocks_what_depends_on_it_and_nothing_else(store: Store) -> None:
    plan = planned(
        "  made: {run: toy-make, with: {size: 3}, grid: {fail: [true, false]}}\n"
        "  once: {run: toy-again, from: made.lines}\n  twice: {run: toy-again, from: once}"
    )
    run = run_plan(plan, store)
    assert {status: run.count(status) for status in ("done", "failed", "blocked")} == {
        "done": 3,
        "failed": 1,
        "blocked": 2,
    }
    table = stage_table(plan, "made", run.outcomes, store)
    assert list(table["status"]) == ["failed", "done"]
    assert table["message"][0] == "RuntimeError: asked to fail"
    log = store.log_file(plan.stages["made"].rows[0].key).read_text()
    assert "asked to fail" in log
    blocked = stage_table(plan, "twice", run.outcomes, store)
    assert blocked["message"][0].startswith("needs ")


def test_settings_that_only_some_rows_have_stand_before_the_numbers(store: Store) -> None:
    plan = planned("  made: {run: toy-make, with: {size: 3}, grid: {recipe.pace.name: [fast, slow]}}")
    columns = list(stage_table(plan, "made", run_plan(plan, store).outcomes, store))
    assert columns.index("recipe.pace.rate") < columns.index("recipe.pace.delay") < columns.index("value")


def test_a_failed_task_is_tried_again_by_the_next_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned("  made: {run: toy-make, with: {size: 3, fail: true}}")
    assert run_plan(plan, store).count("failed") == 1
    (task,) = plan.tasks.values()
    fixed = Operation("toy-make", 1, lambda **options: toy.make.function(**{**options, "fail": False}))
    monkeypatch.setattr(Operation, "outputs", toy.make.outputs, raising=False)
    monkeypatch.setattr(Operation, "takes_context", False)
    object.__setattr__(task, "operation", fixed)
    assert run_plan(plan, store).count("done") == 1
    assert not store.log_file(task.key).exists()


def test_an_interrupted_run_stops_and_the_next_one_continues(store: Store) -> None:
    plan = planned()

    def interrupt(event: Event) -> None:
        if event.outcome and event.outcome.status == "done":
            os.kill(os.getpid(), signal.SIGINT)

    first = run_plan(plan, store, listen=interrupt)
    assert first.interrupted
    assert (first.count("done"), first.count("waiting")) == (1, 2)
    second = run_plan(plan, store)
    assert (second.count("cached"), second.count("done")) == (1, 2)


def test_a_task_that_stops_itself_keeps_its_partial_state(store: Store) -> None:
    class Flag:
        seen = 0

    @operation("toy-resumable", version=1)
    def resumable(*, size: int, context: Context) -> toy.Joined:
        """Stop at first, finish at the second time."""
        assert context.partial is not None
        state = context.partial / "state.txt"
        if not state.exists():
            state.write_text("half")
            raise Interrupted("half done")
        Flag.seen = len(state.read_text())
        return toy.Joined(1.0)

    plan = planned("  a: {run: toy-resumable, with: {size: 1}}\n  b: {run: toy-make, with: {size: 1}}")
    first = run_plan(plan, store)
    assert first.interrupted
    assert first.count("waiting") == 2
    assert run_plan(plan, store).count("done") == 2
    assert Flag.seen == 4
    assert not list((store.folder / "partial").iterdir())


def test_tables_have_settings_metrics_and_no_seconds_and_are_byte_equal(store: Store, tmp_path: Path) -> None:
    plan = planned()
    contents = []
    for folder in (store, Store(tmp_path / "other")):
        run = run_plan(plan, folder)
        study = write_study(plan, run.outcomes, folder)
        contents.append({path.name: path.read_bytes() for path in study.iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {
        "plan.json",
        "made.parquet",
        "made.lines.parquet",
        "made.other.parquet",
        "joined.parquet",
    }
    table = pandas.read_parquet(store.study_folder("t") / "made.parquet")
    assert list(table["value"]) == [0.0, 1.0]
    assert not [column for column in table if "seconds" in column]
    again = write_study(plan, run_plan(plan, store).outcomes, store)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == contents[0]


def test_detail_tables_have_the_settings_that_differ_beside_each_line(store: Store) -> None:
    plan = planned()
    run_plan(plan, store)
    table = detail_table(plan, "made", "lines", store)
    assert list(table.columns) == ["key", "seed", "step", "height"]
    assert list(table["seed"]) == [0, 0, 0, 1, 1, 1]
    assert table["height"].tolist() == [0.0, 0.1, 0.2, 1.0, 1.1, 1.2]


def test_weights_go_through_the_store_unchanged_and_populations_are_gathered(store: Store) -> None:
    plan = planned(
        "  made: {run: toy-snapshots, with: {size: 3}, grid: {seed: [1, 2, 6]}}\n  pooled: {run: toy-pool, from: made}"
    )
    assert run_plan(plan, store).count("done") == 4
    record = store.get(plan.stages["pooled"].rows[0].key)
    assert record is not None
    assert record.metrics == {"count": 3}
    assert torch.equal(record.artefact("weights")["w"], torch.full((3,), 3.0))


def test_results_are_found_by_the_prefix_of_their_key(store: Store) -> None:
    plan = planned()
    run_plan(plan, store)
    key = plan.stages["made"].rows[0].key
    assert store.find(key[:10]).key == key
    with pytest.raises(StoreError, match="found none"):
        store.find("ffffff0000")


def test_another_study_reads_rows_by_study_and_stage_and_by_key(store: Store) -> None:
    plan = planned()
    write_study(plan, run_plan(plan, store).outcomes, store)
    key = plan.stages["made"].rows[1].key
    second = planned(
        f"  a: {{run: toy-once, from: 't/made.lines?seed = 1'}}\n  b: {{run: toy-once, from: '{key[:8]}.lines'}}",
        store,
        "u",
    )
    assert second.stages["a"].rows[0].key == second.stages["b"].rows[0].key
    assert run_plan(second, store).count("done") == 1


def test_damage_is_noticed(store: Store) -> None:
    plan = planned()
    run_plan(plan, store)
    record = store.get(plan.stages["made"].rows[0].key)
    assert record is not None
    assert record.damaged() == []
    (record.folder / "lines.parquet").write_bytes(b"nonsense")
    (record.folder / "other.parquet").unlink()
    assert record.damaged() == ["lines.parquet", "other.parquet"]
    with pytest.raises(StoreError, match="cannot be read as Parquet"):
        record.artefact("lines")


def test_an_unwritable_workspace_fails_the_task_and_leaves_nothing_half_written(store: Store, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "objects").write_text("in the way")
    run = run_plan(planned("  made: {run: toy-make, with: {size: 1}}"), store)
    (outcome,) = run.outcomes.values()
    assert outcome.status == "failed"
    assert "cannot be written" in outcome.message
    assert not list((store.folder / "partial").glob("*.*"))


def test_the_record_keeps_the_environment_and_the_seconds_outside_the_metrics(store: Store) -> None:
    plan = planned()
    run_plan(plan, store)
    record = store.get(plan.stages["made"].rows[0].key)
    assert record is not None
    assert record.metrics == {"value": 0.0}
    assert record.content["seconds"]["fit"] == 1.0
    assert {"python", "torch", "device", "threads"} <= set(record.content["environment"])
    assert json.loads((record.folder / "object.json").read_text())["settings"]["recipe"]["epochs"] == 10


def test_flattening_keeps_every_leaf() -> None:
    assert flattened({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None}) == {"a.b": 1, "a.c.d": "[1, 2]", "e": None}


def damage(store: Store, plan: Plan, stage: str, file: str, content: bytes | None) -> None:
    for row in plan.stages[stage].rows:
        path = store.folder / "objects" / row.key[:2] / row.key / file
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "content"), [("object.json", b"{"), ("object.json", b"{}"), ("object.json", b""), ("lines.parquet", None)]
)
def test_a_result_with_a_torn_record_or_missing_files_is_computed_anew(
    store: Store, caplog: pytest.LogCaptureFixture, file: str, content: bytes | None
) -> None:
    plan = planned()
    write_study(plan, run_plan(plan, store).outcomes, store)
    before = (store.study_folder("t") / "made.parquet").read_bytes()
    damage(store, plan, "made", file, content)
    fresh = Store(store.folder)
    assert [record.content["operation"] for record in fresh.records()] == ["toy-join"]
    run = run_plan(plan, fresh)
    assert (run.count("done"), run.count("cached")) == (2, 1)
    write_study(plan, run.outcomes, fresh)
    assert (store.study_folder("t") / "made.parquet").read_bytes() == before
    assert plan.stages["made"].rows[0].key in caplog.text
    assert all(not record.damaged() for record in Store(store.folder).records())


def test_a_result_whose_content_changed_is_computed_anew_before_it_is_read(store: Store) -> None:
    plan = planned()
    run_plan(planned("  made: {run: toy-make, with: {size: 3}, grid: {seed: [0, 1]}}"), store)
    damage(store, plan, "made", "lines.parquet", b"PAR1 not a table")
    run = run_plan(plan, Store(store.folder))
    assert (run.count("done"), run.count("cached")) == (3, 0)


def test_a_damaged_table_is_named_with_what_to_do(store: Store) -> None:
    plan = planned()
    run_plan(plan, store)
    damage(store, plan, "made", "lines.parquet", b"PAR1 not a table")
    with pytest.raises(StoreError, match=r"lines.parquet cannot be read.*Remove the folder .* and run the study again"):
        detail_table(plan, "made", "lines", store)


def test_a_damaged_plan_of_another_study_is_named(store: Store) -> None:
    plan = planned(name="other")
    write_study(plan, run_plan(plan, store).outcomes, store)
    (store.study_folder("other") / "plan.json").write_text("{")
    with pytest.raises(StoreError, match=r"plan.json is damaged"):
        planned("  again: {run: toy-again, from: other/made.lines}", store)


def test_drafts_that_a_killed_process_left_are_removed(store: Store) -> None:
    plan = planned()
    key = plan.stages["made"].rows[0].key
    left = store.folder / "partial" / f"{key}.0123"
    left.mkdir(parents=True)
    run_plan(plan, store)
    assert not left.exists()


def test_a_run_does_what_it_can_while_another_process_computes_a_task_and_can_be_stopped(store: Store) -> None:
    plan = planned()
    key = plan.stages["made"].rows[0].key
    (store.folder / "locks").mkdir(parents=True)
    looked = []

    def interrupt(event: Event) -> None:
        if event.text == ELSEWHERE:
            looked.append(event.task.key)
        if len(looked) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with FileLock(store.folder / "locks" / f"{key}.lock"):
        run = run_plan(plan, store, listen=interrupt)
    assert run.interrupted
    assert (run.count("done"), run.count("waiting")) == (1, 2)
    assert set(looked) == {key}


def test_what_another_process_publishes_meanwhile_is_taken_from_it(store: Store) -> None:
    plan = planned()
    first, *_ = plan.tasks.values()
    lock = FileLock(store.folder / "locks" / f"{first.key}.lock")
    (store.folder / "locks").mkdir(parents=True)
    lock.acquire()

    def publish(event: Event) -> None:
        if event.text == ELSEWHERE and lock.is_locked:
            other = Store(store.folder)
            other.publish(first, toy.make(size=3, seed=0), seconds=1.0, device="cpu")
            lock.release()

    run = run_plan(plan, store, listen=publish)
    assert [run.outcomes[key].status for key in plan.tasks] == ["cached", "done", "done"]


@pytest.mark.parametrize("refusal", [NotImplementedError("no locks here"), OSError(errno.ENOLCK, "No locks available")])
def test_a_file_system_without_locks_is_no_hindrance(
    store: Store, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise refusal

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert run_plan(planned(), store).count("done") == 3


def test_without_locks_a_task_that_another_process_published_first_is_no_failure(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned("  made: {run: toy-make, with: {size: 3}}")
    (task,) = plan.tasks.values()

    def lose(**options: object) -> object:
        result = toy.make.function(**options)
        Store(store.folder).publish(task, result, seconds=1.0, device="cpu")
        raise FileNotFoundError("the other process has removed the partial state")

    monkeypatch.setattr(Operation, "outputs", toy.make.outputs, raising=False)
    monkeypatch.setattr(Operation, "takes_context", False)
    object.__setattr__(task, "operation", Operation("toy-make", 1, lose))
    assert run_plan(plan, store).outcomes[task.key].status == "cached"


def test_a_workspace_that_cannot_be_written_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the workspace should be")
    toy.CALLS.clear()
    with pytest.raises(StoreError, match="cannot be written"):
        run_plan(planned(), Store(tmp_path / "runs"))
    assert toy.CALLS == []


@pytest.mark.parametrize(("outcome", "message"), [(3, "it returned int"), (SystemExit(5), "SystemExit: 5")])
def test_an_operation_that_returns_no_result_or_exits_fails_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch, outcome: object, message: str
) -> None:
    def misbehave(**options: object) -> object:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    plan = planned("  made: {run: toy-make, with: {size: 3}, grid: {seed: [0, 1]}}")
    first, _ = plan.tasks.values()
    monkeypatch.setattr(Operation, "outputs", toy.make.outputs, raising=False)
    monkeypatch.setattr(Operation, "takes_context", False)
    object.__setattr__(first, "operation", Operation("toy-make", 1, misbehave))
    run = run_plan(plan, store)
    assert (run.count("failed"), run.count("done")) == (1, 1)
    assert message in run.outcomes[first.key].message
