"""The networks and images of the benchmarks of similarity and stitching: the published ones where they are here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from weightscape.data.catalogue import data_root, summary
from weightscape.data.dataset import Dataset, Split
from weightscape.data.loading import load_data
from weightscape.data.specification import DataSettings
from weightscape.models.building import build_model
from weightscape.seeds import stream

SHAPE, CLASSES = (3, 32, 32), 10
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
"""Normalisation that the published networks were trained with."""


@dataclass(frozen=True)
class Material:
    """Two networks and what they see.

    Attributes:
        networks: The front and the back network.
        train: Images to fit and train on.
        test: Images to score on.
        where: Where all that comes from, for the file of results.
    """

    networks: tuple[nn.Module, nn.Module]
    train: Split
    test: Split
    where: str

    def dataset(self) -> Dataset:
        """Return the splits as a data set."""
        settings = DataSettings(name="cifar10")
        return Dataset("cifar10", self.train, self.test, self.test, tuple(map(str, range(CLASSES))), settings)


def material(name: str, *, train: int, test: int) -> Material:
    """Return two networks ``tiny10`` or ``resnet20_w1`` and images, the same in every process."""
    networks, source = _networks(name)
    splits, images = _splits(train, test)
    return Material(networks, *splits, f"{source}, {images}")


def _networks(name: str) -> tuple[tuple[nn.Module, nn.Module], str]:
    folder = data_root() / "reference" / f"{name}_cifar10"
    files = [folder / f"in{seed}-gn{seed}" / "110000.pt" for seed in (0, 1)]
    networks = tuple(build_model(name, shape=SHAPE, classes=CLASSES, seed=seed).eval() for seed in (0, 1))
    if not all(file.is_file() for file in files):
        return networks, "networks with random weights"  # type: ignore[return-value]
    for network, file in zip(networks, files, strict=True):
        _fill(network, file)
    return networks, "published networks in0-gn0 and in1-gn1"  # type: ignore[return-value]


def _fill(network: nn.Module, file: Path) -> None:
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))


def _splits(train: int, test: int) -> tuple[tuple[Split, Split], str]:
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    if summary("cifar10").present:
        data = load_data("cifar10")
        kind = "CIFAR-10 as JPEG" if data.lossy else "CIFAR-10"
        parts = [(part, count) for part, count in ((data.train, train), (data.test, test))]
        splits = [
            Split(part.images[:count].clone(), part.labels[:count].clone(), part.indices[:count].clone(), mean, std)
            for part, count in parts
        ]
        return (splits[0], splits[1]), kind
    return (_noise(train, "train"), _noise(test, "test")), "noise images"


def _noise(count: int, part: str) -> Split:
    generator = stream(0, "subset", part)
    return Split(
        images=torch.randint(0, 256, (count, *SHAPE), generator=generator).to(torch.uint8),
        labels=torch.randint(0, CLASSES, (count,), generator=generator),
        indices=torch.arange(count),
        mean=torch.tensor(MEAN),
        std=torch.tensor(STD),
    )
