"""Two small trained networks with batch norm, and the images that they were trained on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weightscape.data.dataset import Dataset
from weightscape.data.loading import load_data
from weightscape.training.recipe import Recipe
from weightscape.training.run import train_model


def small_network(seed: int, *, widths: tuple[int, int] = (6, 8), classes: int = 10) -> nn.Sequential:
    """Convolutions of 6x6 and 4x4 maps with batch norms, and a mean over what is left of the map."""
    torch.manual_seed(seed)
    one, two = widths
    return nn.Sequential(
        nn.Conv2d(1, one, 3),
        nn.BatchNorm2d(one),
        nn.ReLU(inplace=True),
        nn.Conv2d(one, two, 3),
        nn.BatchNorm2d(two),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * two, classes),
    )


def trained(network: nn.Module, data: Dataset, *, seed: int) -> nn.Module:
    """The network after three epochs, in training mode."""
    recipe = Recipe(epochs=3, batch_size=64, optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9})
    network.load_state_dict(train_model(network, data, recipe=recipe, order_seed=seed).trajectory.last)
    return network


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_data("digits")


@pytest.fixture(scope="session")
def front(digits: Dataset) -> nn.Module:
    return trained(small_network(0), digits, seed=0)


@pytest.fixture(scope="session")
def back(digits: Dataset) -> nn.Module:
    return trained(small_network(1), digits, seed=1)


@pytest.fixture(scope="session")
def wide(digits: Dataset) -> nn.Module:
    """A front network with other numbers of channels."""
    return trained(small_network(2, widths=(9, 12)), digits, seed=2)
