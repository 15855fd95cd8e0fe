"""How long a user waits for nothing: ``--help``, and a second run of a finished study.

Bytes and FLOPs are nothing here; the limit is the start of the interpreter, which is measured in the same rounds.
Writes ``results/startup.json``: medians of interleaved rounds, in seconds.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from common import seconds, write_results

STUDY = """
study: startup
stages:
  trained:
    run: train
    with: {data: digits, model: {name: mlp, hidden: [8]}, recipe: {epochs: 1}}
    grid: {seed: [0, 1]}
figures:
  training: {draw: learning-curve, from: trained.epochs}
"""


def run(command: list[str]) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    program = str(Path(sys.executable).with_name("weightscape"))
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "startup.yaml"
        study.write_text(STUDY)
        again = [program, "run", str(study), "--workspace", f"{folder}/runs"]
        run(again)
        commands = {"interpreter": [sys.executable, "-c", "pass"], "help": [program, "--help"], "second run": again}
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(seconds(partial(run, command)))
    medians = {name: round(statistics.median(values), 3) for name, values in times.items()}
    write_results("startup", {"rounds": rounds, "median seconds": medians})


if __name__ == "__main__":
    main()
