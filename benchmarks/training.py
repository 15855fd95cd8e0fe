"""Training steps of this package beside the usual PyTorch loop, for an mlp on 28x28 and a conv8 on 32x32 images.

Run: ``python benchmarks/training.py`` (several minutes); ``--images 256 --pairs 1 --width 0.25 --name quick`` for a
quick look. Writes ``results/training.json``.

The usual loop reads images one by one from a ``Dataset``, transforms each (crop and flip for conv8, normalisation),
collates them in a ``DataLoader`` with ``--workers`` processes, and reads loss and hits after every step. Its workers
stay alive between epochs, so that their start is not counted; it starts from the same weights, and takes the same
number of steps of the same size with the same update rule. The two loops take turns on the same machine and the median
ratio of the pairs is reported, since the speed of a shared machine varies more than the loops differ. The rate of a
large matrix product before and after says how fast the machine was.

What pays: no per-image Python, fused update kernels, channels-last convolutions, no reading of results within an epoch.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from common import gemm_rate, seconds, write_results
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from weightscape.data.dataset import Split
from weightscape.data.specification import Augmentation
from weightscape.models.building import build_model
from weightscape.seeds import stream
from weightscape.training.learner import Learner
from weightscape.training.recipe import Recipe

RECIPE = Recipe()


def random_split(count: int, shape: tuple[int, int, int]) -> Split:
    """Return noise images with labels: speed does not depend on what is learnt."""
    generator = stream(0, "subset")
    return Split(
        images=torch.randint(0, 256, (count, *shape), generator=generator).to(torch.uint8),
        labels=torch.randint(0, 10, (count,), generator=generator),
        indices=torch.arange(count),
        mean=torch.full((shape[0],), 0.5),
        std=torch.full((shape[0],), 0.25),
    )


class ImageByImage(TorchDataset[tuple[Tensor, int]]):
    """The split as a map-style data set, with the usual transforms of one image."""

    def __init__(self, split: Split, *, augment: bool) -> None:
        self._split = split
        self._augment = augment

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self._split.images[index].float() / 255
        if self._augment:
            size = image.shape[-1]
            row, column, flip = torch.randint(0, 9, (3,)).tolist()
            image = functional.pad(image, (4, 4, 4, 4))[:, row : row + size, column : column + size]
            image = image.flip(-1) if flip < 4 else image
        image = (image - self._split.mean.view(-1, 1, 1)) / self._split.std.view(-1, 1, 1)
        return image, int(self._split.labels[index])


def usual_epoch(model: nn.Module, split: Split, *, augment: bool, workers: int) -> Callable[[], None]:
    """Return a function that trains for one epoch as tutorials do."""
    loader = DataLoader(
        ImageByImage(split, augment=augment),
        batch_size=RECIPE.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def train() -> None:
        model.train()
        total, hits = 0.0, 0
        for images, labels in loader:
            optimizer.zero_grad()
            logits = model(images)
            loss = functional.cross_entropy(logits, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * len(labels)
            hits += int((logits.argmax(1) == labels).sum().item())

    return train


def our_epoch(model: nn.Module, split: Split, *, augment: Augmentation) -> Callable[[], None]:
    """Return a function that trains for one epoch as :func:`weightscape.training.run.train_model` does."""
    learner = Learner(model, RECIPE, "cpu")
    learner.set_learning_rate(0.01)

    def train() -> None:
        learner.begin_epoch(0, 0)
        for images, labels in split.epoch(RECIPE.batch_size, seed=0, epoch=0, augment=augment):
            learner.step(images, labels)
        learner.loss()

    return train


def compare(
    name: str, architecture: object, shape: tuple[int, int, int], *, images: int, pairs: int, workers: int
) -> dict[str, object]:
    """Return seconds per epoch of both loops, in interleaved pairs after one warm-up epoch each."""
    model = build_model(architecture, shape=shape, classes=10, seed=0)  # type: ignore[arg-type]
    split = random_split(images, shape)
    augment = shape[0] == 3
    ours = our_epoch(model, split, augment="pad-crop-flip" if augment else "none")
    usual = usual_epoch(model, split, augment=augment, workers=workers)
    ours()
    usual()
    timed = []
    for pair in range(pairs):
        if pair % 2:
            other, our = seconds(usual), seconds(ours)
        else:
            our, other = seconds(ours), seconds(usual)
        timed.append((our, other))
    return {
        "name": name,
        "images_per_epoch": images,
        "our_images_per_second": round(images / statistics.median(our for our, _ in timed), 1),
        "usual_images_per_second": round(images / statistics.median(other for _, other in timed), 1),
        "usual_over_our_seconds_median": round(statistics.median(other / our for our, other in timed), 3),
        "usual_over_our_seconds": [round(other / our, 3) for our, other in timed],
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images", type=int, default=0, help="images per epoch; 12800 (mlp) and 1280 (conv8) by default"
    )
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--width", type=float, default=1.0, help="of conv8")
    parser.add_argument("--name", default="training", help="of the file of results")
    options = parser.parse_args()
    cases = [
        ("mlp", {"name": "mlp", "hidden": [4096]}, (1, 28, 28), options.images or 12800),
        ("conv8", {"name": "conv8", "width": options.width}, (3, 32, 32), options.images or 1280),
    ]
    before = gemm_rate()
    results = [
        {"workers": workers, **compare(name, architecture, shape, images=images, pairs=options.pairs, workers=workers)}
        for name, architecture, shape, images in cases
        for workers in options.workers
    ]
    rates = {"GFLOP/s before": before, "GFLOP/s after": gemm_rate()}
    write_results(options.name, {**rates, "batch_size": RECIPE.batch_size, "results": results})


if __name__ == "__main__":
    main()
