"""Training epochs of this package beside those of the usual PyTorch loop (``usual.py``).

Run: ``python benchmarks/training.py`` (about fifteen minutes); ``--pairs 1 --images 512 --cases cnn-16-128 --name
quick`` for a quick look. Writes ``results/training.json``.

Both sides start from the same weights and take the same number of steps of the same size with the same update rule,
on noise images: speed does not depend on what is learnt. Each side is a process of its own; they take turns, and the
median of the ratios of neighbouring epochs is reported, since the speed of a shared machine varies more than the
loops differ. The usual loop is measured with 0, 1 and 2 loader processes, and its fastest is compared; their start is
not counted. The rate of a large matrix product, measured between the pairs, and the operations of the networks say
how far the limit is.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from typing import Any

import torch
from common import gemm_rate, write_results
from sides import Side, serve
from torch.utils.flop_counter import FlopCounterMode
from usual import usual_epoch

from weightscape.data.dataset import Split
from weightscape.models.building import build_model
from weightscape.seeds import stream
from weightscape.training.learner import Learner
from weightscape.training.memory import keep_freed_memory
from weightscape.training.population_rule import activation_bytes
from weightscape.training.recipe import Recipe

LOADERS = (0, 1, 2)


@dataclass(frozen=True)
class Case:
    """A network, a batch size and a goal for the ratio."""

    model: dict[str, Any]
    shape: tuple[int, int, int]
    batch_size: int
    images: int
    goal: float | None = None


CASES = {
    "cnn-10-128": Case({"name": "cnn", "channels": 10}, (1, 28, 28), 128, 12800, 1.5),
    "cnn-16-128": Case({"name": "cnn", "channels": 16}, (1, 28, 28), 128, 12800, 1.5),
    "cnn-10-512": Case({"name": "cnn", "channels": 10}, (1, 28, 28), 512, 12800, 1.8),
    "cnn-16-512": Case({"name": "cnn", "channels": 16}, (1, 28, 28), 512, 12800, 1.8),
    "mlp-512-128": Case({"name": "mlp", "hidden": [512]}, (1, 28, 28), 128, 25600, 1.8),
    "mlp-4096-128": Case({"name": "mlp", "hidden": [4096]}, (1, 28, 28), 128, 12800, 1.8),
    "conv8-128": Case({"name": "conv8"}, (3, 32, 32), 128, 1280),
}


def random_split(count: int, shape: tuple[int, int, int]) -> Split:
    """Return noise images with labels."""
    generator = stream(0, "subset")
    return Split(
        images=torch.randint(0, 256, (count, *shape), generator=generator).to(torch.uint8),
        labels=torch.randint(0, 10, (count,), generator=generator),
        indices=torch.arange(count),
        mean=torch.full((shape[0],), 0.5),
        std=torch.full((shape[0],), 0.25),
    )


def serve_ours(case: Case, images: int) -> None:
    """Train as :func:`weightscape.training.run.train_model` does, an epoch a turn."""
    keep_freed_memory()
    model = build_model(case.model, shape=case.shape, classes=10, seed=0)
    recipe = Recipe.model_validate({"batch_size": case.batch_size, "optimizer": {"name": "sgd", "lr": 0.01}})
    learner, split = Learner(model, recipe, "cpu"), random_split(images, case.shape)
    learner.set_learning_rate(0.01)

    def train() -> None:
        learner.begin_epoch(0, 0)
        for batch in split.epoch(case.batch_size, seed=0, epoch=0, augment=_augmentation(case)):
            learner.step(*batch)
        learner.loss()

    serve(train)


def _augmentation(case: Case) -> Any:
    return "pad-crop-flip" if case.shape[0] == 3 else "none"


def serve_usual(case: Case, images: int, loaders: int) -> None:
    """Train as people do, an epoch a turn."""
    model = build_model(case.model, shape=case.shape, classes=10, seed=0)
    augment = _augmentation(case) != "none"
    split = random_split(images, case.shape)
    serve(usual_epoch(model, split, batch_size=case.batch_size, augment=augment, workers=loaders))


def flops(case: Case) -> int:
    """Return the floating-point operations of forward and backward pass of one image."""
    model = build_model(case.model, shape=case.shape, classes=10, seed=0)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *case.shape)).sum().backward()
    return int(counter.get_total_flops())


def kept_bytes(case: Case) -> int:
    """Return the bytes that a step keeps for its backward pass."""
    model = build_model(case.model, shape=case.shape, classes=10, seed=0)
    return activation_bytes(model, random_split(8, case.shape), case.batch_size)


def compare(name: str, case: Case, *, images: int, pairs: int) -> dict[str, Any]:
    """Return images per second of both sides, in interleaved pairs after a warm-up epoch of each."""
    arguments = ("--side", name, "--images", str(images))
    usual = {loaders: Side(__file__, *arguments, "--loaders", str(loaders)) for loaders in LOADERS}
    ours = Side(__file__, *arguments, "--loaders", "-1")
    warm = {loaders: min(side.run(), side.run()) for loaders, side in usual.items()}
    ours.run()
    best = min(warm, key=warm.__getitem__)
    timed, rates = [], []
    for pair in range(pairs):
        rates.append(gemm_rate())
        if pair % 2:
            other, our = usual[best].run(), ours.run()
        else:
            our, other = ours.run(), usual[best].run()
        timed.append((our, other))
    for side in (ours, *usual.values()):
        side.close()
    return _summary(name, case, images, best, warm, timed, statistics.median(rates))


def _summary(
    name: str,
    case: Case,
    images: int,
    best: int,
    warm: dict[int, float],
    timed: list[tuple[float, float]],
    rate: float,
) -> dict[str, Any]:
    our = images / statistics.median(seconds for seconds, _ in timed)
    return {
        "name": name,
        "usual_over_our_seconds_median": round(statistics.median(other / our for our, other in timed), 3),
        "goal": case.goal,
        "usual_over_our_seconds": [round(other / our, 3) for our, other in timed],
        "our_images_per_second": round(our, 1),
        "usual_images_per_second": round(images / statistics.median(other for _, other in timed), 1),
        "usual_loader_processes": best,
        "usual_seconds_by_loader_processes": {str(loaders): round(value, 3) for loaders, value in warm.items()},
        "images_per_epoch": images,
        "batch_size": case.batch_size,
        "MFLOP_per_image": round(flops(case) / 1e6, 3),
        "MiB_kept_per_step": round(kept_bytes(case) / 2**20, 1),
        "our_GFLOP/s": round(our * flops(case) / 1e9, 1),
        "GEMM_GFLOP/s": round(rate, 1),
        "our_share_of_GEMM_rate": round(our * flops(case) / 1e9 / rate, 3),
    }


def main() -> None:
    """Measure and write the results, or serve one side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--images", type=int, help="images per epoch, instead of those of the case")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--name", default="training", help="of the file of results")
    parser.add_argument("--side", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--loaders", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        case = CASES[options.side]
        if options.loaders < 0:
            serve_ours(case, options.images)
        else:
            serve_usual(case, options.images, options.loaders)
        return
    results = [
        compare(name, CASES[name], images=options.images or CASES[name].images, pairs=options.pairs)
        for name in options.cases
    ]
    write_results(options.name, {"threads": torch.get_num_threads(), "results": results})


if __name__ == "__main__":
    main()
