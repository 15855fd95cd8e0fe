"""Small data and models for the tests of training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weightscape.data.dataset import Dataset, Split
from weightscape.data.specification import DataSettings


def _split(count: int, first: int) -> Split:
    generator = torch.Generator().manual_seed(first)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 200, (count, 3, 8, 8), generator=generator)
    # The class is the brightest channel, so that there is something to learn.
    images[torch.arange(count), labels] += 55
    return Split(
        images=images.to(torch.uint8),
        labels=labels,
        indices=torch.arange(first, first + count),
        mean=torch.full((3,), 0.4),
        std=torch.full((3,), 0.25),
    )


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """50 training images of 3 classes (batches of 16: 16, 16, 16, 2), augmented."""
    return Dataset(
        name="bright-channel",
        train=_split(50, 0),
        validation=_split(21, 1000),
        test=_split(30, 2000),
        classes=("red", "green", "blue"),
        settings=DataSettings(name="digits", augment="pad-crop-flip"),
    )


@pytest.fixture(scope="session")
def plain_dataset(dataset: Dataset) -> Dataset:
    """The same images, not augmented."""
    return Dataset(
        name=dataset.name,
        train=dataset.train,
        validation=dataset.validation,
        test=dataset.test,
        classes=dataset.classes,
        settings=DataSettings(name="digits"),
    )


@pytest.fixture
def linear() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 3))


@pytest.fixture
def convolutional() -> nn.Module:
    """What makes resuming hard: batch norm, dropout, convolutions in another memory layout, a tied weight."""
    torch.manual_seed(6)
    first, second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    second.weight = first.weight
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        first,
        nn.Dropout(0.3),
        nn.ReLU(),
        second,
        nn.Linear(8, 3),
    )
