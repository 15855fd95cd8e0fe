"""Run the real command line, end it in the middle, and look at what is left."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet

from tests.unbreakable.warm import WarmProcess, WarmRun
from weightscape.studies.workspace.record import Record

Victim = Literal["all", "driver", "worker"]
STUDY = """
study: hunted
stages:
  trained:
    run: train
    with:
      data: digits
      model: {name: mlp, hidden: [32]}
      recipe: {epochs: 8, batch_size: 32, optimizer: {name: sgd, lr: 0.05}}
      keep: epochs
    grid: {seed: [0, 1]}
  transferred:
    run: transfer
    from: {source: trained, target: trained}
    where: source.seed = 0 and target.seed = 1
    with: {steps: 3}
  tested:
    run: evaluate
    from: [trained@last, trained@4ep]
figures:
  training: {draw: learning-curve, from: trained.epochs}
"""
_ENDS = 240.0
"""Seconds after which a process that should have ended counts as hanging."""


class Runs:
    """The command line on one workspace.

    Args:
        folder: Holds the study and the workspace.
        options: Options of ``weightscape run``.
        warm: A process that has imported everything, to fork runs from.
    """

    def __init__(self, folder: Path, *options: str, warm: WarmProcess | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.study, self.workspace, self.options, self._warm = folder / "hunted.yaml", folder / "runs", options, warm
        self.study.write_text(STUDY)

    def start(self) -> subprocess.Popen[str] | WarmRun:
        """Start a run in a session of its own, so that its processes can be told from all others."""
        arguments = ["run", str(self.study), "--workspace", str(self.workspace), "--device", "cpu", *self.options]
        if self._warm is not None:
            return self._warm.start(arguments, self.study.with_suffix(".log"))
        return subprocess.Popen(
            command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=surroundings(),
            start_new_session=True,
        )

    def finish(self) -> float:
        """Run to the end, which must be a good one; return the seconds it took."""
        began = time.monotonic()
        with self.start() as run:
            printed, _ = run.communicate(timeout=_ENDS)
        assert run.returncode == 0, printed
        return time.monotonic() - began

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command on the workspace."""
        full = command(*arguments, "--workspace", str(self.workspace))
        return subprocess.run(full, capture_output=True, text=True, env=surroundings(), timeout=_ENDS, check=False)


def command(*arguments: str) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "weightscape.cli.main", *arguments]


def surroundings() -> dict[str, str]:
    """Return an environment in which two runs give the same bits."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), "MPLBACKEND": "agg"}


@dataclass
class Hunt:
    """Kills runs of one study until enough have died.

    Attributes:
        runs: The study and its workspace.
        random: Where and whom to kill.
        longest: Seconds after which a run is about to end.
        look: Called after each kill.
        kills: Kills so far, by victim and how far the run was.
    """

    runs: Runs
    random: random.Random
    longest: float
    look: Callable[[Path], None]
    kills: Counter[str] = field(default_factory=Counter)

    def kill_once(self, victim: Victim = "all", *, earliest: float = 0.0) -> bool:
        """Start a run and kill it at a random moment; return whether it was killed before it had ended."""
        with self.runs.start() as run:
            time.sleep(self.random.uniform(earliest, self.longest))
            alive = run.poll() is None
            killed = alive and _kill(run.pid, victim, self.random)
            if killed:
                self.kills[f"{victim}, {progress(self.runs.workspace)}"] += 1
            run.communicate(timeout=_ENDS)
        wait_for_the_end(run.pid)
        self.look(self.runs.workspace)
        return killed


def _kill(session: int, victim: Victim, source: random.Random) -> bool:
    if victim == "driver":
        os.kill(session, signal.SIGKILL)
    elif victim == "all":
        os.killpg(session, signal.SIGKILL)
    else:
        workers = [pid for pid in members(session) if pid != session]
        if not workers:
            return False
        os.kill(source.choice(workers), signal.SIGKILL)
    return True


def members(session: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of_session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(of_session) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_for_the_end(session: int) -> None:
    """Wait until no process of a session is left: workers must notice that their driver has died."""
    deadline = time.monotonic() + _ENDS
    while left := members(session):
        assert time.monotonic() < deadline, f"the processes {left} go on without their driver"
        time.sleep(0.05)


def progress(workspace: Path) -> str:
    """Return how far a run is, for the statistics of a hunt."""
    done = len(list(workspace.glob("objects/*/*/object.json")))
    tables = any(workspace.glob("studies/*/*.parquet"))
    drafts = any("." in path.name for path in workspace.glob("partial/*"))
    state = "publishing" if drafts else "computing" if any(workspace.glob("partial/*/*")) else "between"
    return f"{done} done, {'tables, ' * tables}{state}"


def look(workspace: Path) -> None:
    """Check that all that can be seen in a workspace is whole, whatever happened to the process that wrote it."""
    for folder in workspace.glob("objects/*/*"):
        record = Record(folder.name, folder)
        assert record.fault() == ""
        assert record.damaged() == []
    for table in workspace.glob("studies/*/*.parquet"):
        pyarrow.parquet.read_table(table)
    for plan in workspace.glob("studies/*/plan.json"):
        assert json.loads(plan.read_text())["stages"]


def check_finished(runs: Runs, reference: Runs) -> None:
    """Check that a workspace is as if nobody had ever been killed in it."""
    assert contents(runs.workspace) == contents(reference.workspace)
    assert leftovers(runs.workspace) == []
    verified = runs.ask("verify", "--json")
    found: dict[str, Any] = json.loads(verified.stdout)
    assert (verified.returncode, found["damages"], found["leftovers"], found["unfinished"]) == (0, [], [], []), found


def contents(workspace: Path) -> dict[str, bytes]:
    """Return the bytes of all tables, weights and snapshots."""
    return {name: (workspace / name).read_bytes() for name in sorted(_names(workspace))}


def _names(workspace: Path) -> Iterator[str]:
    for pattern in ("studies/*/*.parquet", "objects/*/*/**/*.parquet", "objects/*/*/**/*.safetensors"):
        yield from (path.relative_to(workspace).as_posix() for path in workspace.glob(pattern))


def leftovers(workspace: Path) -> list[str]:
    """Return what nobody will finish."""
    drafts = [path for path in workspace.rglob("*") if path.suffix in {".draft", ".tmp"} or path.name[0] == "."]
    return sorted(str(path.relative_to(workspace)) for path in [*drafts, *workspace.glob("partial/*")])


def print_kills(hunts: Sequence[Hunt]) -> int:
    """Print where the kills fell and return their number."""
    total: Counter[str] = sum((hunt.kills for hunt in hunts), Counter())
    for state, count in sorted(total.items()):
        print(f"{count:>4}  {state}")
    return total.total()
