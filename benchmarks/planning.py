"""A study of 1,000 tiny tasks that are all there: how long the command takes to find that nothing is to be done.

Run: ``python benchmarks/planning.py`` (a minute). Writes ``results/planning.json``: medians of interleaved rounds, in
seconds of wall-clock time of the whole command, start of the interpreter included. It plans the tasks, looks at every
result and at the content of its tables, and writes the tables of the study.
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

TASKS = 1000
OPERATIONS = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weightscape.operation import operation
from weightscape.results import Result

if TYPE_CHECKING:
    from weightscape.results import Table


@dataclass(frozen=True)
class Number(Result):
    value: float


@dataclass(frozen=True)
class Lines(Result):
    value: float
    lines: Table


@operation("tiny-number", version=1)
def number(*, seed: int, rate: float = 0.1) -> Number:
    """Return a number."""
    return Number(seed * rate)


@operation("tiny-lines", version=1)
def lines(*, seed: int, rate: float = 0.1) -> Lines:
    """Return a number and a table."""
    import pandas

    return Lines(seed * rate, pandas.DataFrame({"epoch": [0, 1, 2], "loss": [rate, rate / 2, rate / 3]}))
'''
STUDY = """
study: planning
stages:
  made:
    run: tiny.OPERATION
    grid: {seed: SEEDS, rate: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]}
"""


def run(folder: Path, name: str, *arguments: str) -> None:
    """Run a study that must succeed."""
    program = str(Path(sys.executable).with_name("weightscape"))
    command = [program, "run", f"{name}.yaml", "--workspace", f"{name}-runs", *arguments]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--name", default="planning", help="of the file of results")
    options = parser.parse_args()
    times: dict[str, list[float]] = {"number": [], "lines": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "tiny.py").write_text(OPERATIONS)
        for name in times:
            text = STUDY.replace("OPERATION", name).replace("SEEDS", str(list(range(TASKS // 10))))
            (folder / f"{name}.yaml").write_text(text)
            run(folder, name, "--workers", "0")
        for _ in range(options.rounds):
            for name, found in times.items():
                found.append(seconds(partial(run, folder, name)))
    names = {"number": "results of one number", "lines": "results of one number and one table"}
    medians = {names[name]: round(statistics.median(found), 3) for name, found in times.items()}
    content = {"tasks": TASKS, "goal": 2.0, "rounds": options.rounds, "median seconds": medians}
    write_results(options.name, content | {"seconds": {names[name]: found for name, found in times.items()}})


if __name__ == "__main__":
    main()
