"""Output that nobody reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("ending", ["| head -n 1", ">&-", "2>&-", "<&-"])
def test_closed_streams_are_no_error(tmp_path: Path, ending: str) -> None:
    command = f"set -o pipefail; {sys.executable} -m weightscape.cli.main data list --json {ending}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
