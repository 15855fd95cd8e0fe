"""What all benchmarks share: the speed limit of the machine, and results as JSON with the environment."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

from weightscape.studies.environment import environment

RESULTS = Path(__file__).parent / "results"


def gemm_rate(size: int = 2048, repeats: int = 5) -> float:
    """Return the best rate of a float32 matrix product, in GFLOP/s."""
    left, right = torch.rand(size, size), torch.rand(size, size)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e9


def write_results(name: str, content: dict[str, Any]) -> Path:
    """Write ``results/NAME.json`` with the environment, print it, and return the path."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**content, "environment": environment()}, indent=1) + "\n"
    path = RESULTS / f"{name}.json"
    path.write_text(text, encoding="utf-8")
    print(text)
    return path
