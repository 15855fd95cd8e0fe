"""kill -9 at random moments: the tables and the weights are those of a run that nobody touched."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path

import pytest

from tests.unbreakable.harness import (
    Hunt,
    Runs,
    Victim,
    check_finished,
    contents,
    look,
    print_kills,
    surroundings,
    wait_for_the_end,
)
from tests.unbreakable.warm import WarmProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc"),
]
FROM_THE_START = 6
IN_ONE_PROCESS = 40
WHILE_WRITING_TABLES = 20
WITH_WORKERS = 9
MOST_IN_ONE_WORKSPACE = 10


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmProcess]:
    """A process that has imported everything."""
    process = WarmProcess(surroundings())
    yield process
    process.close()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, warm: WarmProcess) -> tuple[Runs, float]:
    """A run that nobody touched, and its seconds."""
    runs = Runs(tmp_path_factory.mktemp("reference"), "--workers", "0", warm=warm)
    seconds = runs.finish()
    assert len(contents(runs.workspace)) > 30
    return runs, seconds


def hunt(make: Callable[[int], Runs], reference: Runs, seconds: float, kills: int, victims: Sequence[Victim]) -> int:
    """Kill runs until `kills` have died, in one workspace after the other, each then finished and checked."""
    source, hunts, order = random.Random(20_26), [], cycle(victims)
    while sum(done.kills.total() for done in hunts) < kills:
        runs = make(len(hunts))
        hunts.append(Hunt(runs, source, seconds, look))
        for _ in range(min(MOST_IN_ONE_WORKSPACE, kills)):
            if not hunts[-1].kill_once(next(order)):
                break
        runs.finish()
        check_finished(runs, reference)
    return print_kills(hunts)


def test_a_run_killed_at_any_moment_ends_in_the_same_bytes(
    reference: tuple[Runs, float], warm: WarmProcess, tmp_path: Path
) -> None:
    def make(number: int) -> Runs:
        return Runs(tmp_path / str(number), "--workers", "0", warm=warm)

    assert hunt(make, *reference, IN_ONE_PROCESS, ["all"]) >= IN_ONE_PROCESS


def test_a_run_killed_while_it_starts_ends_in_the_same_bytes(reference: tuple[Runs, float], tmp_path: Path) -> None:
    cold = Runs(tmp_path / "cold", "--workers", "0")
    seconds = cold.finish()
    check_finished(cold, reference[0])

    def make(number: int) -> Runs:
        return Runs(tmp_path / str(number), "--workers", "0")

    assert hunt(make, reference[0], seconds, FROM_THE_START, ["all"]) >= FROM_THE_START


def test_a_run_with_workers_survives_the_death_of_any_of_them(reference: tuple[Runs, float], tmp_path: Path) -> None:
    options = ["--workers", "2", "--threads", "1"]
    cold = Runs(tmp_path / "cold", *options)
    seconds = cold.finish()
    check_finished(cold, reference[0])

    def make(number: int) -> Runs:
        return Runs(tmp_path / str(number), *options)

    assert hunt(make, reference[0], seconds, WITH_WORKERS, ["all", "worker", "driver"]) >= WITH_WORKERS


def test_a_finished_study_killed_while_its_tables_are_written(
    reference: tuple[Runs, float], warm: WarmProcess, tmp_path: Path
) -> None:
    runs = Runs(tmp_path, warm=warm)
    shutil.copytree(reference[0].workspace, runs.workspace)
    shutil.rmtree(runs.workspace / "studies")
    killer = Hunt(runs, random.Random(7), runs.finish(), look)
    while killer.kills.total() < WHILE_WRITING_TABLES:
        shutil.rmtree(runs.workspace / "studies", ignore_errors=True)
        killer.kill_once()
    runs.finish()
    check_finished(runs, reference[0])
    print_kills([killer])


def test_two_drivers_share_the_work(reference: tuple[Runs, float], tmp_path: Path) -> None:
    runs = Runs(tmp_path, "--workers", "0")
    with runs.start() as first, runs.start() as second:
        printed = [run.communicate(timeout=240)[0] for run in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], printed
    check_finished(runs, reference[0])


def test_one_of_two_drivers_may_die_again_and_again(
    reference: tuple[Runs, float], warm: WarmProcess, tmp_path: Path
) -> None:
    runs = Runs(tmp_path, "--workers", "0")
    dying = Runs(tmp_path, "--workers", "0", warm=warm)
    killer = Hunt(dying, random.Random(3), reference[1], look)
    with runs.start() as survivor:
        while survivor.poll() is None:
            killer.kill_once()
        printed = survivor.communicate(timeout=240)[0]
    assert survivor.returncode == 0, printed
    runs.finish()
    check_finished(runs, reference[0])
    print_kills([killer])


def test_a_terminated_run_leaves_no_process_behind(reference: tuple[Runs, float], tmp_path: Path) -> None:
    runs = Runs(tmp_path, "--workers", "2", "--threads", "1")
    with runs.start() as run:
        while not any(runs.workspace.glob("partial/*/*")):
            assert run.poll() is None
            time.sleep(0.02)
        os.kill(run.pid, signal.SIGTERM)
        printed = run.communicate(timeout=120)[0]
    assert run.returncode == 130, printed
    wait_for_the_end(run.pid)
    runs.finish()
    check_finished(runs, reference[0])
