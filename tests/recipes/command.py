"""The command line, run as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def weightscape(*arguments: str, workspace: Path, data: Path | None = None) -> str:
    """Run a command that must succeed, and return what it prints."""
    environment = {**os.environ, "WEIGHTSCAPE_WORKSPACE": str(workspace), "OMP_NUM_THREADS": "1"}
    if data is not None:
        environment["WEIGHTSCAPE_DATA"] = str(data)
    command = [sys.executable, "-m", "weightscape.cli.main", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=workspace)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
