"""What a run shows while it works: counts that are right, whatever is computed where."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tests.studies.test_execution import planned
from weightscape.cli.progress import PlainLines, Progress
from weightscape.studies.executors.execution import Event, Outcome, Run, outcomes_of
from weightscape.studies.executors.ledger import ELSEWHERE
from weightscape.studies.workspace.store import Store

Cli = Callable[..., Result]


def test_a_damaged_input_that_is_computed_anew_is_counted_once(cli: Cli, study: str, tmp_path: Path) -> None:
    cli("run", study, "--set", "joined.weight=2")
    for path in (tmp_path / "runs/objects").glob("*/*/steps.parquet"):
        path.write_bytes(b"PAR1 nonsense")
    lines = cli("run", study).stderr.splitlines()
    counted = [tuple(map(int, found)) for line in lines for found in re.findall(r"\[(\d+)/(\d+)\]", line)]
    assert counted == [(number, 6) for number in range(1, 7)]


def test_what_tasks_print_stays_out_of_json(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "said.yaml").write_text(
        "study: said\nstages: {said: {run: tests.studies.worker_toys.speak, with: {text: hello}}}\n"
    )
    done = cli("run", tmp_path / "said.yaml", "--json")
    assert json.loads(done.stdout)["tasks"]["done"] == 1
    assert "out hello" in done.stderr


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    plan = planned("  made: {run: toy-make, with: {size: 3}, grid: {seed: [0, 1, 2, 3]}}")
    store = Store(tmp_path / "runs")
    return Progress(plan, Run(outcomes_of(plan, store)), store, workers=2)


def test_the_time_left_is_that_of_all_workers_together(progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("weightscape.cli.progress.time.monotonic", lambda: now)
    plan = planned("  made: {run: toy-make, with: {size: 3}, grid: {seed: [0, 1, 2, 3]}}")
    first, second, *_ = plan.tasks.values()
    assert progress.seconds_left() is None
    progress.take(Event(first, None, 0.0))
    progress.take(Event(second, None, 0.0))
    now = 10.0
    progress.take(Event(first, Outcome("done", seconds=10.0)))
    progress.take(Event(second, None, 0.5))
    # Half of the second, which took 10 s so far, and two others of 10 s, between two workers.
    assert progress.seconds_left() == pytest.approx((10 + 10 + 10) / 2)


def test_a_task_that_another_run_computes_is_said_once(progress: Progress, capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned("  made: {run: toy-make, with: {size: 3}, grid: {seed: [0, 1, 2, 3]}}")
    first, *_ = plan.tasks.values()
    show = PlainLines(progress)
    for _ in range(3):
        show(Event(first, None, 0.0, ELSEWHERE))
    show(Event(first, Outcome("cached")))
    assert capsys.readouterr().err.splitlines() == [f"made seed=0: {ELSEWHERE}", "[1/4]  cached   made seed=0"]
