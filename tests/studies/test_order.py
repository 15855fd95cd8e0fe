"""A workspace in order: damage is found by reading every byte, and what nobody reaches can go."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.studies.test_execution import planned
from weightscape.errors import StoreError
from weightscape.studies.executors.execution import run_plan
from weightscape.studies.plan import Plan
from weightscape.studies.tables import write_plan, write_study
from weightscape.studies.workspace.damage import discard_damaged_tables
from weightscape.studies.workspace.garbage import find_garbage, remove_garbage
from weightscape.studies.workspace.record import sealed
from weightscape.studies.workspace.store import Store
from weightscape.studies.workspace.verification import rehashed, verify

ALONE = "  made: {run: toy-make, with: {size: 2}, grid: {seed: [5]}}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def ran(store: Store, stages: str | None = None, name: str = "t") -> Plan:
    """Run a study and write its tables."""
    plan = planned(name=name) if stages is None else planned(stages, name=name)
    write_study(plan, run_plan(plan, store).outcomes, store)
    return plan


def files(store: Store) -> list[Path]:
    return sorted(path for path in store.folder.glob("objects/*/*/**/*") if path.is_file())


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 0x10
    path.write_bytes(bytes(content))


def test_a_workspace_without_damage_is_whole(store: Store) -> None:
    ran(store)
    found = verify(Store(store.folder))
    assert (found.checked, found.damages, found.leftovers, found.unfinished) == (3, (), (), ())
    assert found.bytes == sum(path.stat().st_size for path in files(store))


@pytest.mark.parametrize("position", [0, 7, -9, 123])
def test_one_changed_bit_in_any_file_is_found_removed_and_computed_anew(store: Store, position: int) -> None:
    plan = ran(store)
    table = (store.study_folder("t") / "made.lines.parquet").read_bytes()
    for file in files(store):
        flip(file, position)
        folder = next(parent for parent in file.parents if parent.parent.parent.name == "objects")
        (damage,) = verify(Store(store.folder), repair=True).damages
        assert (damage.name, damage.removed) == (folder.name, True)
        assert file.name in damage.problem or file.stem in damage.problem
        assert not folder.exists()
        again = run_plan(plan, Store(store.folder))
        assert (again.count("done"), again.count("cached")) == (1, 2)
        write_study(plan, again.outcomes, Store(store.folder))
        assert (store.study_folder("t") / "made.lines.parquet").read_bytes() == table
    assert not verify(Store(store.folder)).damages


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": 1}'])
def test_a_record_that_cannot_be_read_is_damage(store: Store, content: bytes) -> None:
    ran(store)
    (store.folder / files(store)[0]).parent.joinpath("object.json").write_bytes(content)
    (damage,) = verify(Store(store.folder)).damages
    assert damage.problem.startswith("object.json: ")


def test_a_folder_without_a_record_is_damage(store: Store) -> None:
    plan = ran(store)
    record = store.get(plan.stages["made"].rows[0].key)
    assert record is not None
    (record.folder / "object.json").unlink()
    assert [damage.name for damage in verify(Store(store.folder)).damages] == [record.key]


def test_a_number_changed_by_hand_does_not_reach_a_table(store: Store) -> None:
    plan = ran(store)
    key = plan.stages["made"].rows[0].key
    path = store.folder / "objects" / key[:2] / key / "object.json"
    path.write_text(path.read_text().replace('"value": 0.0', '"value": 1.0'))
    fresh = Store(store.folder)
    assert fresh.get(key) is None
    assert run_plan(plan, fresh).count("done") == 1
    assert json.loads(path.read_text())["metrics"]["value"] == 0.0


def test_a_result_under_the_key_of_other_settings_is_damage(store: Store) -> None:
    plan = ran(store)
    key = plan.stages["made"].rows[0].key
    path = store.folder / "objects" / key[:2] / key / "object.json"
    content = json.loads(path.read_text())
    assert rehashed(content) == key
    content["settings"]["size"] = 4
    path.write_text(json.dumps(sealed(content)))
    (damage,) = verify(Store(store.folder)).damages
    assert "its settings and inputs belong to the key" in damage.problem
    content["version"] = 2
    assert rehashed(content) is None, "an operation of another version says nothing about this one's keys"


def test_a_result_copied_to_another_key_does_not_count(store: Store) -> None:
    plan = ran(store)
    first, second = (store.get(row.key) for row in plan.stages["made"].rows)
    assert first is not None
    assert second is not None
    (second.folder / "object.json").write_bytes((first.folder / "object.json").read_bytes())
    assert Store(store.folder).get(second.key) is None


def test_what_another_process_is_computing_is_not_removed(store: Store) -> None:
    plan = ran(store)
    record = store.get(plan.stages["made"].rows[0].key)
    assert record is not None
    (record.folder / "lines.parquet").write_bytes(b"")
    with store.claimed(record.key):
        (damage,) = verify(Store(store.folder), repair=True).damages
        assert not damage.removed
    assert record.folder.exists()


def test_a_damaged_table_of_a_finished_study_is_computed_anew(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    plan = ran(store)
    before = {path.name: path.read_bytes() for path in store.study_folder("t").iterdir()}
    key = plan.stages["made"].rows[1].key
    flip(store.folder / "objects" / key[:2] / key / "other.parquet", 50)
    fresh = Store(store.folder)
    assert discard_damaged_tables(plan, fresh) == [key]
    assert "other.parquet); it is computed anew" in caplog.text
    run = run_plan(plan, fresh)
    assert (run.count("done"), run.count("cached")) == (1, 2)
    write_study(plan, run.outcomes, fresh)
    assert {path.name: path.read_bytes() for path in store.study_folder("t").iterdir()} == before


def test_results_that_no_study_reaches_are_garbage(store: Store) -> None:
    ran(store)
    old = ran(store, ALONE, name="u")
    ran(store, ALONE.replace("[5]", "[6]"), name="u")
    found = find_garbage(store)
    (key,) = old.tasks
    assert [item.key for item in found.items if item.kind == "result"] == [key]
    assert (store.folder / "objects" / key[:2] / key).is_dir(), "finding removes nothing"
    removed = remove_garbage(store, found)
    assert removed.bytes == found.bytes > 0
    assert store.get(key) is None
    assert not find_garbage(store).items
    assert verify(Store(store.folder)).checked == 4


def test_inputs_from_another_study_stay_though_that_study_is_gone(store: Store) -> None:
    first = ran(store, ALONE, name="first")
    again = planned("  again: {run: toy-again, from: first/made.lines}", store, "second")
    write_study(again, run_plan(again, store).outcomes, store)
    (store.study_folder("first") / "plan.json").unlink()
    remove_garbage(store, find_garbage(store))
    assert set(first.tasks) <= {record.key for record in Store(store.folder).records()}


def test_results_of_a_study_that_has_only_begun_stay(store: Store) -> None:
    plan = planned()
    write_plan(plan, store)
    run_plan(plan, store)
    state = store.partial_folder(plan.stages["joined"].rows[0].key)
    assert not [item for item in find_garbage(store).items if item.kind != "lock"]
    assert not state.exists()


def test_the_state_of_an_unfinished_task_stays_while_a_study_has_it(store: Store) -> None:
    plan = planned()
    write_plan(plan, store)
    wanted, unknown = store.partial_folder(next(iter(plan.tasks))), store.partial_folder("f" * 32)
    for folder in (wanted, unknown):
        folder.mkdir(parents=True)
        (folder / "checkpoint").write_text("half")
    found = find_garbage(store)
    assert [item.path for item in found.items] == [unknown]
    remove_garbage(store, found)
    assert wanted.exists()
    assert not unknown.exists()


def test_results_of_one_line_commands_stay_unless_all_is_asked_for(store: Store) -> None:
    plan = planned(ALONE)
    run_plan(plan, store)
    (key,) = plan.tasks
    note = store.command_file(key)
    note.parent.mkdir()
    note.write_text("{}")
    found = find_garbage(store)
    assert ([item.kind for item in found.items if item.kind != "lock"], found.commands) == ([], 1)
    found = find_garbage(store, one_line="remove")
    assert {item.kind for item in found.items} >= {"result", "command"}
    remove_garbage(store, found)
    assert not note.exists()
    assert not list(store.folder.glob("objects/*"))


def test_what_a_running_process_holds_stays(store: Store) -> None:
    run_plan(planned(ALONE), store)
    (key,) = planned(ALONE).tasks
    code = (
        "import sys, time\nfrom weightscape.studies.workspace.store import Store\n"
        f"with Store({str(store.folder)!r}).claimed({key!r}):\n    print('held', flush=True)\n    time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        found = find_garbage(store)
        assert (found.items, found.held) == ((), 2), "the result and its lock"
        os.kill(other.pid, signal.SIGKILL)
    assert len(find_garbage(store).items) == 2


def test_a_workspace_that_may_only_be_read_can_be_verified(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(store)
    key = next(store.records()).key
    left = store.folder / "partial" / f"{key}.draft"
    left.mkdir()

    def refuse(lock: FileLock, timeout: float) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert verify(Store(store.folder)).leftovers == (left,)
    assert find_garbage(Store(store.folder)).held == 0


def test_a_file_system_that_cannot_make_folders_durable_is_no_hindrance(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", fsync)
    ran(store)
    assert verify(Store(store.folder)).checked == 3


def test_drafts_of_killed_processes_are_leftovers_and_garbage(store: Store) -> None:
    plan = ran(store)
    key = next(iter(plan.tasks))
    left = [store.folder / "partial" / f"{key}.0123", store.study_folder("t") / ".made.parquet.0123.draft"]
    left[0].mkdir(parents=True)
    left[1].write_text("half")
    assert sorted(verify(store).leftovers) == sorted(left)
    remove_garbage(store, find_garbage(store))
    assert not verify(store).leftovers


def test_the_next_run_removes_what_killed_processes_left_of_its_tasks(store: Store) -> None:
    plan = ran(store)
    key = next(iter(plan.tasks))
    left = [
        store.partial_folder(key),
        store.folder / "partial" / f"{key}.0123",
        store.study_folder("t") / ".made.parquet.0123.draft",
    ]
    for path in left:
        path.mkdir(parents=True) if path.suffix != ".draft" else path.touch()
    write_study(plan, run_plan(plan, store).outcomes, store)
    assert not [path for path in left if path.exists()]


def test_nothing_is_garbage_while_a_plan_cannot_be_read(store: Store) -> None:
    ran(store)
    (store.study_folder("t") / "plan.json").write_text("{")
    with pytest.raises(StoreError, match=r"plan.json is damaged"):
        find_garbage(store)
    (damage,) = verify(store, repair=True).damages
    assert (damage.name, damage.removed) == ("studies/t", False)
