"""Runs in several processes, started from the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Cli = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[str]"]


@pytest.mark.slow
def test_two_workers_write_the_tables_that_one_process_writes(
    cli: Cli, process: Process, study: str, tmp_path: Path
) -> None:
    parallel = process("run", study, "--workers", "2", "--threads", "1")
    out, errors = parallel.communicate()
    assert (parallel.returncode, "6 tasks: 6 done" in out) == (0, True), errors
    assert "2 workers with 1 thread each" in errors
    cli("run", study, "--workspace", tmp_path / "other")
    names = [path.name for path in (tmp_path / "other/studies/toys").glob("*.parquet")]
    assert len(names) == 3
    for name in names:
        assert (tmp_path / "runs/studies/toys" / name).read_bytes() == (
            tmp_path / "other/studies/toys" / name
        ).read_bytes()


def test_a_run_that_computes_in_other_processes_loads_no_torch(study: str, tmp_path: Path) -> None:
    code = (
        "import json, sys\nfrom weightscape.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as error:\n    assert not error.code\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "run", study, "--workspace", str(tmp_path / "runs"), "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert "torch" not in json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--workers", "2", "--per-gpu", "1"], "Leave one of them out."),
        (["--per-gpu", "2"], "a run on GPUs"),
        (["--device", "cuda"], "Torch sees no GPU here."),
        (["--workers", "-1"], "--workers"),
    ],
)
def test_impossible_workplaces_are_refused_before_anything_starts(
    arguments: list[str], expected: str, cli: Cli, study: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WEIGHTSCAPE_WORKERS")
    monkeypatch.setattr("weightscape.studies.executors.workplaces.visible_gpus", lambda: 0)
    done = cli("run", study, *arguments)
    assert done.exit_code == 2
    assert expected in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "runs/objects").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_an_import_ends_quietly(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "slow_library.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    code = "from weightscape.cli.stopping import signals_interrupt; signals_interrupt(); import slow_library"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (130, "Interrupted.")
