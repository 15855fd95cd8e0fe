"""A small network on digits, trained once, and its planted copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from weightscape.data.dataset import Dataset
from weightscape.data.loading import load_data
from weightscape.models.building import build_model
from weightscape.seeds import stream
from weightscape.symmetry.discovery import discover
from weightscape.symmetry.permutation import Permutation
from weightscape.training.recipe import Recipe, Sgd
from weightscape.training.run import train_model
from weightscape.weights.algebra import weights_of
from weightscape.weights.trajectory import Trajectory

ARCHITECTURE = {"name": "mlp", "hidden": [32]}
EPOCHS = 4


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Bit-equality is promised for a fixed number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_data("digits")


def build(seed: int = 0, architecture: dict[str, Any] | None = None) -> nn.Module:
    return build_model(architecture or ARCHITECTURE, shape=(1, 8, 8), classes=10, seed=seed)


@pytest.fixture(scope="session")
def model() -> nn.Module:
    return build()


def train(dataset: Dataset, seed: int, architecture: dict[str, Any] | None = None, epochs: int = EPOCHS) -> Trajectory:
    recipe = Recipe(epochs=epochs, batch_size=64, optimizer=Sgd(name="sgd", lr=0.1))
    return train_model(build(seed, architecture), dataset, recipe=recipe, order_seed=seed, keep="epochs").trajectory


@pytest.fixture(scope="session")
def source(digits: Dataset) -> Trajectory:
    return train(digits, seed=1)


@pytest.fixture(scope="session")
def other(digits: Dataset) -> Trajectory:
    """A run from another initialisation."""
    return train(digits, seed=2)


@pytest.fixture(scope="session")
def planted(model: nn.Module, digits: Dataset) -> Permutation:
    """A permutation to be found again."""
    return discover(model, digits.train.normalised(slice(2))).random(stream(7, "match"))


@pytest.fixture(scope="session")
def copy(source: Trajectory, planted: Permutation) -> Trajectory:
    """The source's run with its hidden units in another order."""
    return Trajectory({snapshot.step: planted.apply(snapshot.weights) for snapshot in source})


@pytest.fixture
def untouched(model: nn.Module) -> Iterator[nn.Module]:
    """The template, checked to be left as it was."""
    before, mode = weights_of(model), model.training
    yield model
    assert model.training == mode
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
