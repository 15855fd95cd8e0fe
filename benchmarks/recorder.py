"""What a Recorder costs in a plain training loop of a small CNN.

Epochs with and without it take turns in one process. An epoch with a recorder ends when all its snapshots are on the
disk. Where it may, the process runs ahead of others on the machine (as under ``chrt -r 1``); the time of the processor
beside that of the clock says how much others took away.

    python benchmarks/recorder.py [--pairs 15] [--iterations 150]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import write_results
from torch import nn
from torch.nn import functional

from weightscape import Recorder

BATCH = 128


def network() -> nn.Module:
    """Return a CNN of 10 and 16 channels for 28x28 images, with batch norm."""
    return nn.Sequential(
        *(nn.Conv2d(1, 10, 3, padding=1), nn.BatchNorm2d(10), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(10, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 49, 10)),
    )


def epoch(model: nn.Module, optimizer: torch.optim.Optimizer, iterations: int, recorder: Recorder | None) -> None:
    """Train for one epoch on made-up images."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 1, 28, 28, generator=generator)
    labels = torch.randint(0, 10, (BATCH,), generator=generator)
    for _ in range(iterations):
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        if recorder is not None:
            recorder.step()
    if recorder is not None:
        recorder.end_epoch()
        recorder.close()


def measured(work, *arguments) -> tuple[float, float]:
    """Return the seconds of the clock and of the processor, all threads together."""
    clock, processor = time.perf_counter(), time.process_time()
    work(*arguments)
    return time.perf_counter() - clock, time.process_time() - processor


def compare(every: str, pairs: int, iterations: int, folder: Path) -> dict[str, object]:
    """Return the ratio of epochs with a recorder to epochs without one, by pairs."""
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    recorder = Recorder(folder / every, model, every=every)
    recorder.close()
    epoch(model, optimizer, iterations, None)
    clocks, processors, plain = [], [], []
    for number in range(pairs):
        sides = dict.fromkeys(("with", "without") if number % 2 else ("without", "with"))
        for name in sides:
            sides[name] = measured(epoch, model, optimizer, iterations, recorder if name == "with" else None)
        clocks.append(sides["with"][0] / sides["without"][0] - 1)
        processors.append(sides["with"][1] / sides["without"][1] - 1)
        plain.append(sides["without"][0])
    return {
        "every": every,
        "snapshots_per_epoch": 1 if every == "1ep" else iterations // int(every.removesuffix("it")),
        "epoch_seconds": statistics.median(plain),
        "fastest_epoch_seconds": min(plain),
        "overhead_clock": statistics.median(clocks),
        "overhead_clock_quartiles": statistics.quantiles(clocks, n=4)[::2],
        "overhead_processor": statistics.median(processors),
        "overhead_processor_quartiles": statistics.quantiles(processors, n=4)[::2],
    }


def direct(folder: Path, repeats: int = 300) -> dict[str, float]:
    """Return the cost of single calls in seconds: what the loop waits for, and all that the processor does."""
    recorder = Recorder(folder / "direct", network(), every="1000000it")
    recorder.close()
    waited = processor = 0.0
    for _ in range(repeats):
        began, used = time.perf_counter(), time.process_time()
        recorder.save()
        waited += time.perf_counter() - began
        recorder.close()
        processor += time.process_time() - used
    used = time.process_time()
    for _ in range(10_000):
        recorder.step()
    step = (time.process_time() - used) / 10_000
    return {"save_waited": waited / repeats, "save_processor": processor / repeats, "step_processor": step}


def bounded(found: dict[str, object], costs: dict[str, float], iterations: int) -> dict[str, object]:
    """Return a comparison with the overhead that follows from the cost of single calls: exact where pairs are noisy."""
    spent = iterations * costs["step_processor"] + found["snapshots_per_epoch"] * costs["save_processor"]
    return {**found, "overhead_from_calls": spent / found["fastest_epoch_seconds"]}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--iterations", type=int, default=150)
    options = parser.parse_args()
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        ahead = True
    except (AttributeError, OSError):
        ahead = False
    folder = Path(tempfile.mkdtemp())
    try:
        costs = direct(folder)
        found = [compare(every, options.pairs, options.iterations, folder) for every in ("1ep", "50it", "10it")]
        found = [bounded(one, costs, options.iterations) for one in found]
    finally:
        shutil.rmtree(folder)
    write_results(
        "recorder",
        {
            "what": "share of time that a Recorder adds to an epoch of a CNN of 10 and 16 channels, 28x28, batch 128",
            "pairs": options.pairs,
            "iterations": options.iterations,
            "ahead_of_others": ahead,
            "seconds_of_calls": costs,
            "measured": found,
        },
    )


if __name__ == "__main__":
    main()
