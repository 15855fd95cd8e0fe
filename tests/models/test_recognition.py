from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from weightscape.models.architecture import parse_architecture
from weightscape.models.building import build_model
from weightscape.models.recognition import recognise, shapes_of
from weightscape.weights.files import load_weights

INPUTS = {"shape": (3, 32, 32), "classes": 10}
BUNDLED: list[dict[str, Any]] = [
    {"name": "lenet"},
    {"name": "resnet20_w1"},
    {"name": "resnet20_w3"},
    {"name": "fixup_resnet18", "width": 0.25},
    {"name": "mlp", "hidden": [32, 16], "bias": True},
    {"name": "conv4", "width": 0.5},
    {"name": "resnet18", "width": 0.25, "stem": "imagenet"},
    {"name": "tiny10", "batch_norm": False},
]


@pytest.mark.parametrize("settings", BUNDLED, ids=str)
def test_each_bundled_network_is_recognised_by_its_tensors_alone(settings: dict[str, Any]) -> None:
    wanted = parse_architecture(settings)
    network = build_model(wanted, **INPUTS)
    assert recognise(shapes_of(network.state_dict()), **INPUTS) == [wanted]


def test_weights_of_nothing_bundled_or_of_other_inputs_are_not_recognised() -> None:
    network = build_model("tiny10", **INPUTS)
    shapes = shapes_of(network.state_dict())
    assert recognise(shapes, shape=(3, 32, 32), classes=100) == []
    assert recognise(shapes | {"extra": (3,)}, **INPUTS) == []
    assert recognise({"linear1.weight": (5, 3)}, **INPUTS) == []
    assert recognise({}, **INPUTS) == []


def test_published_networks_are_recognised(shared_data: Path) -> None:
    for name, folder in (("resnet20_w1", "resnet20_w1_cifar10"), ("tiny10", "tiny10_cifar10")):
        weights = load_weights(shared_data / "reference" / folder / "in0-gn0" / "110000.pt")
        (found,) = recognise(shapes_of(weights), **INPUTS)
        assert found.name == name
