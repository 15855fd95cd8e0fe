"""Machines that share a workspace tell each other what they are at, also where locks do not reach that far."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from tests.studies.test_execution import planned
from weightscape.studies.executors.execution import Event, run_plan
from weightscape.studies.executors.ledger import ELSEWHERE
from weightscape.studies.workspace import marks
from weightscape.studies.workspace.marks import DEAD_SECONDS, Mark
from weightscape.studies.workspace.store import Store


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_what_one_machine_has_marked_another_leaves_alone_until_it_is_done(tmp_path: Path) -> None:
    ours, theirs = Mark(tmp_path / "k.mark", "ours"), Mark(tmp_path / "k.mark", "theirs")
    assert ours.take()
    assert not theirs.take()
    theirs.remove()
    assert not theirs.take(), "only the machine that left a mark removes it"
    ours.remove()
    assert theirs.take()
    theirs.remove()
    assert not list(tmp_path.iterdir())


def test_the_mark_of_a_dead_machine_counts_for_nothing(tmp_path: Path) -> None:
    assert Mark(tmp_path / "k.mark", "dead").take()
    age(tmp_path / "k.mark", DEAD_SECONDS + 1)
    ours = Mark(tmp_path / "k.mark", "ours")
    assert ours.take()
    assert not Mark(tmp_path / "k.mark", "third").take()
    ours.remove()


def test_what_a_killed_process_of_this_machine_has_marked_is_free_at_once(tmp_path: Path) -> None:
    assert Mark(tmp_path / "k.mark").take()
    assert Mark(tmp_path / "k.mark").take(), "the lock has told already that nobody here holds it"


def test_an_empty_mark_such_as_a_full_disk_leaves_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / "k.mark").write_text("")
    ours = Mark(tmp_path / "k.mark", "ours")
    assert ours.take()
    ours.remove()


def test_a_mark_is_renewed_while_the_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "RENEW_SECONDS", 0.01)
    ours = Mark(tmp_path / "k.mark", "ours")
    assert ours.take()
    deadline = time.monotonic() + 60
    age(tmp_path / "k.mark", DEAD_SECONDS + 1)
    while Mark(tmp_path / "k.mark", "theirs")._is_foreign() is False:
        assert time.monotonic() < deadline
    ours.remove()


def test_a_folder_that_takes_no_marks_is_no_hindrance(tmp_path: Path) -> None:
    assert Mark(tmp_path / "missing" / "k.mark", "ours").take()


def test_a_run_leaves_to_another_machine_what_that_one_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = planned(), Store(tmp_path / "runs")
    first, *_ = plan.tasks
    (store.folder / "locks").mkdir(parents=True)
    path = store.folder / "locks" / f"{first}.mark"
    assert Mark(path, "another machine").take()
    order = []

    def listen(event: Event) -> None:
        order.append((event.task.key, event.text))
        if event.outcome is not None and event.task.key != first:
            path.unlink(missing_ok=True)

    run = run_plan(plan, store, listen=listen)
    assert run.count("done") == 3
    assert order[0] == (first, ELSEWHERE)
    assert [path.suffix for path in (store.folder / "locks").iterdir()] == [".lock"] * 3


def test_a_lock_that_is_held_leaves_no_mark(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with FileLock(tmp_path / "locks/k.lock"), store.claimed("k") as free:
        assert not free
        assert not list(tmp_path.glob("locks/*.mark"))
