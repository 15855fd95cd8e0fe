"""A study of small networks with one worker process and with two.

Run: ``python benchmarks/workers.py`` (several minutes). Writes ``results/workers.json``: wall-clock seconds of the
whole command, from an empty workspace, in interleaved pairs. One worker computes with all cores, two with half of
them each, as the command divides them by itself.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from common import gemm_rate, seconds, write_results

STUDIES = {
    "cnn": "{name: cnn, channels: 10, depth: 4, pool_every: 2}",
    "mlp": "{name: mlp, hidden: [128, 128]}",
}
STUDY = """
study: workers
stages:
  trained:
    run: train
    with: {data: digits, model: MODEL, recipe: {epochs: EPOCHS, batch_size: 64}}
    grid: {seed: [0, 1, 2, 3, 4, 5, 6, 7]}
"""
EPOCHS = {"cnn": 40, "mlp": 120}


def run(study: Path, workers: int) -> None:
    """Run the study in a new workspace."""
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(sys.executable).with_name("weightscape"))
        command = [program, "run", str(study), "--workspace", folder, "--workers", str(workers)]
        subprocess.run(command, check=True, capture_output=True)


def compare(name: str, *, pairs: int) -> dict[str, object]:
    """Return the seconds with one and with two workers."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "workers.yaml"
        study.write_text(STUDY.replace("MODEL", STUDIES[name]).replace("EPOCHS", str(EPOCHS[name])))
        timed = []
        for pair in range(pairs):
            order = (1, 2) if pair % 2 == 0 else (2, 1)
            found = {workers: seconds(partial(run, study, workers)) for workers in order}
            timed.append((found[1], found[2]))
    return {
        "name": name,
        "one_over_two_workers_median": round(statistics.median(one / two for one, two in timed), 3),
        "goal": 1.6,
        "one_over_two_workers": [round(one / two, 3) for one, two in timed],
        "seconds_with_one": round(statistics.median(one for one, _ in timed), 2),
        "seconds_with_two": round(statistics.median(two for _, two in timed), 2),
        "tasks": 8,
        "model": STUDIES[name],
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=STUDIES, default=list(STUDIES), help="which networks")
    parser.add_argument("--name", default="workers", help="of the file of results")
    options = parser.parse_args()
    before = gemm_rate()
    results = [compare(name, pairs=options.pairs) for name in options.cases]
    write_results(options.name, {"GFLOP/s before": before, "GFLOP/s after": gemm_rate(), "results": results})


if __name__ == "__main__":
    main()
