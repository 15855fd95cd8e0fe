"""What a run tries out before it computes anything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from weightscape.errors import Problem, SpecificationError
from weightscape.operation import operation
from weightscape.rehearsal import Rehearsal
from weightscape.results import Result
from weightscape.studies import rehearsing
from weightscape.studies.document import read_text
from weightscape.studies.executors.execution import run_plan
from weightscape.studies.plan import Plan
from weightscape.studies.planning import plan_study
from weightscape.studies.rehearsing import rehearse
from weightscape.studies.sources import Sources
from weightscape.studies.specification import validate_study
from weightscape.studies.workspace.store import Store

ASKED: list[int] = []
STUDY = """
study: sizes
stages:
  cut: {run: rehearsing-cut, grid: {size: [1, 7, 8], seed: [0, 1]}}
  again: {run: rehearsing-cut, with: {size: 7, seed: 2}}
"""


@dataclass(frozen=True)
class Cut(Result):
    size: int


def too_large(settings: Any) -> Sequence[Problem]:
    ASKED.append(settings.size)
    if settings.size == 0:
        raise RuntimeError("foreign code that cannot be tried out")
    return [Problem("size", "at most 5", str(settings.size))] if settings.size > 5 else []


@operation("rehearsing-cut", version=1, rehearsal=Rehearsal(looks_at=("size",), function=f"{__name__}.too_large"))
def cut(*, size: int, seed: int = 0) -> Cut:
    """Cut to a size."""
    return Cut(size)


@pytest.fixture(autouse=True)
def _nothing_asked() -> None:
    ASKED.clear()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def planned(text: str, store: Store) -> Plan:
    return plan_study(validate_study(read_text(text, "s.yaml")), sources=Sources(store))


def test_all_problems_come_at_once_with_their_places_and_equal_questions_are_asked_once(store: Store) -> None:
    with pytest.raises(SpecificationError) as caught:
        rehearse(planned(STUDY, store), store, here=True)
    assert [problem.where for problem in caught.value.problems] == [
        "s.yaml:4:47 (stages.cut.grid.size.1)",
        "s.yaml:4:50 (stages.cut.grid.size.2)",
        "s.yaml:5:45 (stages.again.with.size)",
    ]
    assert ASKED == [1, 7, 8]


def test_tasks_that_are_computed_already_are_not_asked(store: Store) -> None:
    plan = planned("study: s\nstages: {cut: {run: rehearsing-cut, with: {size: 7}}}", store)
    run_plan(plan, store)
    rehearse(plan, store, here=True)
    assert ASKED == []


def test_what_cannot_be_tried_out_is_no_mistake(store: Store) -> None:
    rehearse(planned("study: s\nstages: {cut: {run: rehearsing-cut, with: {size: 0}}}", store), store, here=True)
    assert ASKED == [0]


def test_another_process_finds_what_this_one_finds(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SpecificationError) as caught:
        rehearse(planned(STUDY, store), store)
    assert [problem.received for problem in caught.value.problems] == ["7", "8", "7"]
    assert ASKED == [], "nothing is tried out in this process"
    assert capfd.readouterr() == ("", "")


def test_a_process_that_cannot_try_anything_out_stops_no_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsing, "_START", "print('no answer'); raise SystemExit(1)")
    rehearse(planned(STUDY, store), store)


def test_where_nothing_is_asked_no_process_is_started(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "run", refuse)
    rehearse(planned("study: s\nstages: {made: {run: tests.cli.toys.make, with: {size: 1}}}", store), store)


def test_neither_planning_nor_the_process_of_the_run_loads_torch(tmp_path: Path) -> None:
    study = tmp_path / "s.yaml"
    study.write_text(
        "study: s\nstages:\n  trained: {run: train, with: {data: digits, model: mlp, recipe: {epochs: 1}}}\n"
        "  shown: {run: represent, from: trained@last, with: {layers: linear9}}\n"
    )
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from weightscape.errors import SpecificationError\n"
        "from weightscape.studies.planning import plan_study\n"
        "from weightscape.studies.rehearsing import rehearse\n"
        "from weightscape.studies.specification import load_study\n"
        "from weightscape.studies.workspace.store import Store\n"
        f"plan = plan_study(load_study({str(study)!r}))\n"
        f"try:\n    rehearse(plan, Store(Path({str(tmp_path / 'runs')!r})))\n"
        "except SpecificationError as error:\n    print(error.problems[0].remedy)\n"
        "print('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == ["The model has no layer 'linear9'. Did you mean 'linear2'?", "False"]
