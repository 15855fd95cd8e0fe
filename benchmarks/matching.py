"""Time of matching beside time of gradients, for fast gradient matching on conv8, and of large assignment problems.

Run: ``python benchmarks/matching.py`` (several minutes), or for a quick look ``python benchmarks/matching.py --steps 4
--batch-size 16 --sizes 512 --name quick``. Writes ``results/matching.json``.

Arithmetic, per pair of gradients on conv8 (4.9 M parameters; 210 M multiply-adds forward per 32x32 image):

- one gradient of one network on 2 batches of 128: 3 * 2 * 210e6 * 256 = 0.32 TFLOP; a pair 0.64 TFLOP.
- the inner products of every (tensor, axis): sum of 2 * entries * units = 7.8 GFLOP per pair, 62 % of it in the last
  3x3 convolution. Computed when a pair is added, at the identity and at the permutation of the last match: 16 GFLOP,
  2.4 % of the gradients of the pair.
- a match from the identity: counted 8 to 16 GFLOP per stored pair (one to two evaluations of everything) in a run of 12
  steps with one batch of 64 on the synthetic task below, in which 50 to 80 % of the units changed from one match to the
  next. Extrapolated to T = 30: 3.6 to 7.4 TFLOP over T (T + 1) / 2 = 465 stored pairs, 19 to 38 % of the 19 TFLOP of
  gradients. One product per pair, (tensor, axis) and sweep would be 3.6 TFLOP *per sweep*, with 5 to 12 sweeps a match.

Assignment: SciPy alone against the same solver behind an auction (``symmetry/assignment.py``); the optimum is equal.
Tried and left out: lapx (6 to 8 times slower than SciPy on such matrices); an auction in torch instead of NumPy (slow,
and ten times slower when other processes share the cores).
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from common import gemm_rate, seconds, timed, write_results
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from weightscape.models.building import build_model
from weightscape.seeds import stream
from weightscape.symmetry.assignment import solve_assignment
from weightscape.symmetry.costs import PairCosts
from weightscape.symmetry.discovery import discover
from weightscape.symmetry.matching import match_pairs
from weightscape.training.gradients import GradientOracle, mean_gradient
from weightscape.weights.algebra import Weights, add, lerp, parameters_of, subtract

SHAPE, CLASSES = (3, 32, 32), 10


def batch(size: int, number: int) -> tuple[Tensor, Tensor]:
    """Return images of ten noisy smooth classes, and labels."""
    generator = stream(0, "order", number)
    labels = torch.randint(0, CLASSES, (size,), generator=generator)
    patterns = torch.randn(CLASSES, 3, 8, 8, generator=stream(0, "init", "patterns"))
    images = functional.interpolate(patterns, size=32, mode="bilinear")[labels]
    return images + 0.5 * torch.randn(images.shape, generator=generator), labels


def trained(oracle: GradientOracle, start: Weights, steps: int, size: int) -> Weights:
    """Return the weights after a few steps of SGD with momentum."""
    weights, velocity = start, {name: torch.zeros_like(tensor) for name, tensor in start.items()}
    for step in range(steps):
        slope = oracle.gradient(weights, [batch(size, 10_000 + step)])
        velocity = {name: 0.9 * velocity[name] + slope[name] for name in weights}
        weights = {name: weights[name] - 0.02 * velocity[name] for name in weights}
    return weights


def fast_gradient_matching(steps: int, size: int, batches: int, training: int) -> dict[str, object]:
    """Time gradients, inner products and assignments of FGMT on a linear trajectory of conv8."""
    model, other = (build_model("conv8", shape=SHAPE, classes=CLASSES, seed=seed) for seed in (0, 1))
    symmetry = discover(model, torch.zeros(2, *SHAPE))
    source, target = parameters_of(model), parameters_of(other)
    oracle = GradientOracle(model)
    end = trained(oracle, source, training, size)
    costs, permutation = PairCosts(symmetry), symmetry.identity()
    rows: list[dict[str, float]] = []
    for step in range(steps):
        point = lerp(source, end, step / steps)
        moved = add(target, permutation.apply(subtract(point, source)))
        data = [batch(size, step * batches + number) for number in range(batches)]
        pair, gradients = timed(lambda: [oracle.gradient(weights, data) for weights in (moved, point)])  # noqa: B023
        adding = seconds(partial(costs.add, *pair))
        result = match_pairs(costs, seed=step)
        permutation = result.permutation
        row = {name: getattr(result, name) for name in ("cost_seconds", "solver_seconds", "sweeps", "solves", "cosine")}
        rows.append({"step": step + 1, "gradient_seconds": gradients, "add_seconds": adding, **row})
        print(rows[-1], flush=True)
    total = {name: sum(row[name] for row in rows) for name in rows[0] if name.endswith("_seconds")}
    overhead = (total["add_seconds"] + total["cost_seconds"]) / total["gradient_seconds"]
    arithmetic = total["gradient_seconds"] + total["solver_seconds"]
    return {
        "steps": steps,
        "batch_size": size,
        "batches": batches,
        "total": total,
        "matching_overhead_of_gradients": overhead,
        "whole_over_gradients_and_assignments": sum(total.values()) / arithmetic,
        "rows": rows,
    }


def gradient_costs(units: int, pairs: int) -> Tensor:
    """Return the cost matrix of gradients of two ReLU networks with one hidden layer on the same sparse images."""
    inputs = torch.rand(128, 784, generator=stream(0, "order", "inputs"))
    inputs = inputs * (torch.rand(inputs.shape, generator=stream(0, "order", "mask")) < 0.2)
    total = torch.zeros(units, units)
    for pair in range(pairs):
        labels = torch.randint(0, CLASSES, (128,), generator=stream(0, "order", "labels", pair))
        sides = []
        for side in range(2):
            model = build_model(
                {"name": "mlp", "hidden": [units]}, shape=(1, 28, 28), classes=CLASSES, seed=2 * pair + side
            )
            sides.append(mean_gradient(model, parameters_of(model), [(inputs.reshape(-1, 1, 28, 28), labels)]))
        (first, last), (other_first, other_last) = (list(side.values()) for side in sides)
        total += first @ other_first.T + last.T @ other_last
    return total


def assignments(sizes: list[int]) -> list[dict[str, float]]:
    """Time SciPy alone and with a head start."""
    rows = []
    for size in sizes:
        gain = gradient_costs(size, pairs=4)
        exact = gain.double().numpy()
        pairs, plain = timed(partial(linear_sum_assignment, exact, maximize=True))
        index, ours = timed(partial(solve_assignment, gain))
        best, found = float(exact[pairs].sum()), float(exact[range(size), index.numpy()].sum())
        rows.append(
            {
                "units": size,
                "scipy_seconds": plain,
                "solve_seconds": ours,
                "relative_difference": (found - best) / abs(best),
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run both parts and write the results with the environment."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--training", type=int, default=60, help="steps of SGD that make the trajectory")
    parser.add_argument("--sizes", type=int, nargs="*", default=[512, 1024, 2048, 4096])
    parser.add_argument("--name", default="matching", help="of the file of results")
    options = parser.parse_args()
    content: dict[str, object] = {"GFLOP/s before": gemm_rate(), "assignment": assignments(options.sizes)}
    if options.steps:
        content["conv8"] = fast_gradient_matching(options.steps, options.batch_size, options.batches, options.training)
    content["GFLOP/s after"] = gemm_rate()
    write_results(options.name, content)


if __name__ == "__main__":
    main()
