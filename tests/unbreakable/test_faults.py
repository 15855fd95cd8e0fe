"""Every moment of publishing a result and of writing tables: the process dies there, or the system refuses there.

The calls that change the disk are counted. For each of them a forked copy of this process dies just before it, or is
told that the disk is full; then a fresh look at the workspace must find everything whole, and the next run must end in
the same bytes.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import pathlib
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.studies.test_execution import planned
from tests.unbreakable.harness import contents, leftovers, look
from weightscape.errors import StoreError
from weightscape.studies.executors.execution import run_plan
from weightscape.studies.plan import Plan
from weightscape.studies.tables import write_study
from weightscape.studies.workspace.damage import discard_damaged_tables
from weightscape.studies.workspace.store import Store
from weightscape.studies.workspace.verification import verify

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="copies of the process are forked"),
]
CALLS = ("rename", "replace", "fsync", "mkdir", "unlink", "rmdir", "remove", "open")
ONE = "  made: {run: toy-make, with: {size: 1}}"
DIED = 77
NEVER = 10**6
MANY = 40


class Disk:
    """Counts the calls that change the disk, and does something else instead of one of them.

    Args:
        fatal: The number of that call, from 0.
        instead: What happens there.
    """

    def __init__(self, fatal: int, instead: Callable[[], None]) -> None:
        self.count, self._fatal, self._instead = 0, fatal, instead

    def _step(self) -> None:
        self.count += 1
        if self.count - 1 == self._fatal:
            self._instead()

    def attach(self, patch: pytest.MonkeyPatch) -> None:
        """Stand between this process and the system."""
        for name in CALLS:
            patch.setattr(os, name, self._counted(getattr(os, name)))
        patch.setattr(pandas.DataFrame, "to_parquet", self._halved(pandas.DataFrame.to_parquet))
        patch.setattr(pathlib.Path, "write_text", lambda path, text, **options: self._write_text(path, text))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self._step()
            return call(*arguments, **options)

        return counted

    def _halved(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def halved(frame: pandas.DataFrame, path: Path, **options: Any) -> None:
            self._step()
            content = io.BytesIO()
            call(frame, content, **options)
            self._write(path, content.getvalue())

        return halved

    def _write_text(self, path: Path, text: str) -> None:
        self._step()
        self._write(path, text.encode())

    def _write(self, path: Path, content: bytes) -> None:
        with builtins.open(path, "wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            self._step()
            file.write(content[len(content) // 2 :])


def die() -> None:
    os._exit(DIED)


def refuse() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def forked(work: Callable[[], None], fatal: int) -> int:
    """Run in a copy of this process that dies at a call; return how it ended."""
    child = os.fork()
    if not child:
        code = 1
        try:
            with pytest.MonkeyPatch.context() as patch:
                Disk(fatal, die).attach(patch)
                work()
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ran(folder: Path) -> Plan:
    """Run a study of one task from whatever there is, and write its tables."""
    plan, store = planned(ONE), Store(folder)
    discard_damaged_tables(plan, store)
    outcomes = run_plan(plan, store).outcomes
    write_study(plan, outcomes, store)
    return plan


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    """The bytes of a run that nobody touched."""
    ran(tmp_path / "whole")
    return contents(tmp_path / "whole")


def check(folder: Path, whole: dict[str, bytes]) -> None:
    """Check what can be seen, run to the end, and compare."""
    look(folder)
    ran(folder)
    assert contents(folder) == whole
    assert leftovers(folder) == []
    found = verify(Store(folder))
    assert (found.damages, found.leftovers, found.unfinished) == ((), (), ())


def damaged(folder: Path) -> None:
    """Leave a workspace in which one result is damaged and its replacement must be moved into its place."""
    plan = ran(folder)
    key = plan.stages["made"].rows[0].key
    (folder / "objects" / key[:2] / key / "lines.parquet").write_bytes(b"PAR1 not a table")


def torn(folder: Path) -> None:
    """Leave a workspace in which the record of one result is empty, so that its folder is in the way of the new one."""
    plan = ran(folder)
    key = plan.stages["made"].rows[0].key
    (folder / "objects" / key[:2] / key / "object.json").write_bytes(b"")


@pytest.mark.parametrize("before", [None, damaged, torn], ids=["empty", "damaged", "torn"])
def test_death_before_any_call_leaves_nothing_half_written(
    tmp_path: Path, whole: dict[str, bytes], before: Callable[[Path], None] | None
) -> None:
    start, folder = tmp_path / "start", tmp_path / "runs"
    start.mkdir()
    stride = 1 if before is None else 3
    if before is not None:
        before(start)
    deaths = 0
    while True:
        shutil.copytree(start, folder)
        code = forked(lambda: [ran(folder), None][1], deaths)
        assert code in {0, DIED}
        if code == 0:
            break
        deaths += stride
        if before is not None:
            ran(folder)
        check(folder, whole)
        shutil.rmtree(folder)
    assert deaths > MANY


@pytest.mark.parametrize("number", range(3))
def test_death_again_and_again_at_later_and_later_calls_ends_in_the_same_bytes(
    tmp_path: Path, whole: dict[str, bytes], number: int
) -> None:
    deaths = 0
    for fatal in range(number, NEVER, 3):
        if forked(lambda: [ran(tmp_path / "runs"), None][1], fatal) == 0:
            break
        deaths += 1
        look(tmp_path / "runs")
    check(tmp_path / "runs", whole)
    assert deaths > 3


def test_a_full_disk_at_any_call_is_said_and_the_next_run_continues(tmp_path: Path, whole: dict[str, bytes]) -> None:
    folder, said = tmp_path / "runs", 0
    for fatal in range(NEVER):
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(fatal, refuse)
            disk.attach(patch)
            failed = attempt(folder)
        if disk.count <= fatal:
            break
        said += failed
        assert failed or disk.count > fatal
        check(folder, whole)
        shutil.rmtree(folder)
    assert said > MANY


def attempt(folder: Path) -> bool:
    """Run once; return whether it said that something could not be written."""
    plan, store = planned(ONE), Store(folder)
    try:
        run = run_plan(plan, store)
        write_study(plan, run.outcomes, store)
    except StoreError as error:
        return "No space left on device" in str(error)
    failed = [outcome for outcome in run.outcomes.values() if outcome.status == "failed"]
    assert all("No space left on device" in outcome.message for outcome in failed), failed
    return bool(failed)
