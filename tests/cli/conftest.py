from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from weightscape.cli.main import app

STUDY = """
study: toys
about: Two stages and a figure
stages:
  made:
    run: tests.cli.toys.make
    with: {size: 3}
    grid: {method: [a, b], seed: [0, 1]}
  joined:
    run: tests.cli.toys.join
    from: {source: made.steps, target: made.steps}
    where: source.seed < target.seed and source.method = target.method
figures:
  curve: {draw: transfer-curve, from: made.steps, with: {split: test}}
"""


@pytest.fixture
def study(tmp_path: Path) -> str:
    """The path of a study of toys."""
    path = tmp_path / "toys.yaml"
    path.write_text(STUDY)
    return str(path)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command line in this process, on a workspace of its own."""
    monkeypatch.setenv("WEIGHTSCAPE_WORKSPACE", str(tmp_path / "runs"))
    monkeypatch.setenv("WEIGHTSCAPE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WEIGHTSCAPE_WORKERS", "0")
    monkeypatch.setattr(sys, "path", list(sys.path))
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)), prog_name="weightscape")


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start the command line in a process of its own, from the root of the project."""

    def start(*arguments: str, cwd: Path = Path(__file__).parents[2]) -> subprocess.Popen[str]:
        environment = {**os.environ, "WEIGHTSCAPE_WORKSPACE": str(tmp_path / "runs"), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "weightscape.cli.main", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment,
        )

    return start
