"""What all benchmarks share: a stopwatch, the speed limit of the machine, and results as JSON with the environment."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from weightscape.studies.workspace.environment import environment

Value = TypeVar("Value")
RESULTS = Path(__file__).parent / "results"


def timed(work: Callable[[], Value]) -> tuple[Value, float]:
    """Return what one call returns, and its wall-clock seconds."""
    began = time.perf_counter()
    value = work()
    return value, time.perf_counter() - began


def seconds(work: Callable[[], object]) -> float:
    """Return the wall-clock seconds of one call."""
    return timed(work)[1]


def gemm_rate(size: int = 2048, repeats: int = 5) -> float:
    """Return the best rate of a float32 matrix product, in GFLOP/s."""
    left, right = torch.rand(size, size), torch.rand(size, size)
    return 2e-9 * size**3 / min(seconds(lambda: left @ right) for _ in range(repeats))


def write_results(name: str, content: dict[str, Any]) -> Path:
    """Write ``results/NAME.json`` with the environment, print it, and return the path."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**content, "environment": environment()}, indent=1) + "\n"
    path = RESULTS / f"{name}.json"
    path.write_text(text, encoding="utf-8")
    print(text)
    return path
