"""Overhead of transfers on conv8, and what GMT saves by computing the source's gradients once.

Run: ``python benchmarks/transfer.py --full`` (T = 30, 2 batches of 128 per gradient: more than an hour on two cores);
without ``--full`` a look of a few minutes. Data: CIFAR-10 where it is found, else scikit-learn's digits at 32x32.

Arithmetic on conv8 (4.9 M parameters, 0.42 GFLOP forward per image): a gradient on 128 images takes 3 * 0.42 * 128 =
161 GFLOP. FGMT needs 2 T of them; GMT with cached source gradients ``T + T (T - 1) / 2 + 1``, and ``T (T + 1)`` when
both sides are recomputed: 2.0 times as many for T = 30. The inner products of a pair take 8 GFLOP when it is added, and
again about once per match.

1. *Overhead*: all time but evaluation over gradients plus assignment problems, for FGMT and GMT. At most 1.3 is wanted.
2. *Caching*: the gradients of GMT, step by step in turn with both sides recomputed. At least 1.7 is wanted at T = 30.

The peak rate of a large matrix product is measured in the same run, before and after.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from typing import Any

from common import gemm_rate, write_results
from torch import nn

from weightscape.data.dataset import Dataset
from weightscape.data.loading import load_data
from weightscape.data.specification import DataSettings
from weightscape.errors import DataError
from weightscape.models.building import build_model
from weightscape.seeds import stream
from weightscape.symmetry.discovery import discover
from weightscape.training.gradients import GradientOracle
from weightscape.training.recipe import Recipe, Sgd
from weightscape.training.run import train_model
from weightscape.transfer.batches import BatchStream
from weightscape.transfer.clock import Clock
from weightscape.transfer.pairs import PairedGradients
from weightscape.transfer.paths import MovedPath, Source
from weightscape.transfer.schedule import plan_points
from weightscape.transfer.trajectory import transfer_trajectory
from weightscape.weights.algebra import Weights, weights_of
from weightscape.weights.trajectory import Trajectory


@dataclass(frozen=True)
class Task:
    """What is measured: a trained source, a target, and the size of the transfer."""

    dataset: Dataset
    model: nn.Module
    source: Trajectory
    target: Weights
    steps: int
    batches: int
    batch_size: int
    start_from: Any = "previous"


def load_images() -> Dataset:
    """Return CIFAR-10 or else enlarged digits, with few images to evaluate on."""
    try:
        dataset = load_data(DataSettings(name="cifar10", augment="pad-crop-flip"))
    except DataError:
        dataset = load_data(DataSettings(name="digits", size=32))

    def few(split: Any) -> Any:
        return replace(split, images=split.images[:64], labels=split.labels[:64], indices=split.indices[:64])

    return replace(dataset, validation=few(dataset.validation), test=few(dataset.test))


def prepare(arguments: argparse.Namespace) -> Task:
    """Train a source for a few steps; speed hardly depends on how well it learns."""
    dataset = load_images()
    build = {"shape": dataset.shape, "classes": len(dataset.classes)}
    architecture = {"name": "conv8", "width": arguments.width}
    part = replace(
        dataset.train,
        images=dataset.train.images[:1280],
        labels=dataset.train.labels[:1280],
        indices=dataset.train.indices[:1280],
    )
    recipe = Recipe(epochs=arguments.epochs, optimizer=Sgd(name="sgd", lr=0.05))
    run = train_model(
        build_model(architecture, seed=0, **build), replace(dataset, train=part), recipe=recipe, order_seed=0
    )
    model = build_model(architecture, seed=1, **build)
    return Task(
        dataset,
        model,
        run.trajectory,
        weights_of(model),
        arguments.steps,
        arguments.batches,
        arguments.batch_size,
        arguments.start_from,
    )


def overhead(task: Task, method: Any) -> dict[str, float]:
    """Return the seconds of a transfer by phase, and all but evaluation over gradients plus assignments."""
    result = transfer_trajectory(
        task.source,
        task.target,
        model=task.model,
        dataset=task.dataset,
        method=method,
        steps=task.steps,
        batches=task.batches,
        batch_size=task.batch_size,
        heldout_batches=0,
        control="none",
        start_from=task.start_from,
    )
    needed = result.gradient_seconds + result.assignment_seconds
    return {
        "gradient seconds": result.gradient_seconds,
        "assignment seconds": result.assignment_seconds,
        "cost seconds": result.cost_seconds,
        "other seconds": result.total_seconds - result.evaluation_seconds - needed - result.cost_seconds,
        "overhead": (result.total_seconds - result.evaluation_seconds) / needed,
        "solves": float(result.steps["solves"].sum()),
        "sweeps": float(result.steps["sweeps"].sum()),
        "changed at the last step": float(result.steps["changed"].iloc[-1]),
    }


def caching(task: Task) -> dict[str, float]:
    """Return the seconds of all gradients of GMT, cached and recomputed in turn step by step, and their ratio."""
    source = Source(task.source, [name for name, _ in task.model.named_parameters()], path="linear")
    points = plan_points(1, task.steps, "uniform")
    symmetry = discover(task.model, task.dataset.train.normalised(slice(2)))

    def gradients(*, keep: bool) -> PairedGradients:
        return PairedGradients(
            oracle=GradientOracle(task.model),
            batches=BatchStream(task.dataset, seed=0, batch_size=task.batch_size),
            source=MovedPath(source, points, source.first),
            target=MovedPath(source, points, task.target),
            count=task.batches,
            clock=Clock(),
            check=lambda: None,
            keep=keep,
        )

    contestants = {"cached": gradients(keep=True), "recomputed": gradients(keep=False)}
    seconds = dict.fromkeys(contestants, 0.0)
    for step in range(1, task.steps + 1):
        permutation = symmetry.random(stream(0, "match", step))
        for name, contestant in contestants.items():
            began = time.perf_counter()
            path = contestant.target.permuted(permutation)
            for point in range(step):
                contestant.at_target(path, point)
                contestant.at_source(point)
            seconds[name] += time.perf_counter() - began
    return {f"{name} seconds": value for name, value in seconds.items()} | {
        "ratio": seconds["recomputed"] / seconds["cached"]
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="30 steps, 2 batches per gradient")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batches", type=int)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3, help="of 1280 images, to train the source")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--methods", nargs="+", choices=["fgmt", "gmt"], default=["fgmt", "gmt"])
    parser.add_argument("--start-from", choices=["previous", "identity"], default="previous")
    parser.add_argument("--part", choices=["all", "overhead", "caching"], default="all")
    parser.add_argument("--name", default="transfer", help="of the file of results")
    arguments = parser.parse_args()
    arguments.steps = arguments.steps or (30 if arguments.full else 4)
    arguments.batches = arguments.batches or (2 if arguments.full else 1)
    task = prepare(arguments)
    content: dict[str, Any] = {"settings": vars(arguments), "data": task.dataset.name}
    content["GFLOP/s before"] = gemm_rate()
    if arguments.part != "caching":
        content["overhead"] = {method: overhead(task, method) for method in arguments.methods}
    if arguments.part != "overhead":
        content["caching"] = caching(task)
    content["GFLOP/s after"] = gemm_rate()
    write_results(arguments.name, content)


if __name__ == "__main__":
    main()
