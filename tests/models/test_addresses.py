"""Addresses name places of a network: outputs, inputs, calls; patterns expand in order of execution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from weightscape.errors import ModelError
from weightscape.models.addresses import LayerAddress, find_layers
from weightscape.models.building import build_model

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Twice(nn.Module):
    """Calls one ReLU twice, registers its layers in another order than it calls them, and leaves one out."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)
        self.first = nn.Linear(4, 4)
        self.relu = nn.ReLU(inplace=True)
        self.idle = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.relu(self.last(self.relu(self.first(inputs))))


@given(
    st.from_regex(r"[a-z]\w{0,3}(\.\w{1,3}){0,2}", fullmatch=True),
    st.none() | st.integers(1, 9),
    st.sampled_from(["output", "input"]),
)
def test_an_address_survives_being_written_and_read(module: str, call: int | None, point: str) -> None:
    address = LayerAddress(module, call, point)
    assert LayerAddress.parse(str(address)) == address


@pytest.mark.parametrize("text", ["", "bn1#0", "bn1:output:input", "bn1:inputs", "bn1#x", "#2", ":input"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="Expected the name of a layer"):
        LayerAddress.parse(text)


def test_patterns_expand_in_order_of_execution_and_not_of_registration() -> None:
    model = Twice()
    example = torch.randn(2, 4)
    assert find_layers(model, "*", example=example) == ("first", "relu#1", "last", "relu#2")
    assert find_layers(model, ["last", "first"], example=example) == ("first", "last")
    assert find_layers(model, "relu*, first:input", example=example) == ("first:input", "relu#1", "relu#2")
    assert find_layers(model, "relu#2:input", example=example) == ("relu#2:input",)


def test_the_published_layers_of_a_resnet_are_found_by_two_patterns() -> None:
    model = build_model("resnet20_w1", shape=(3, 32, 32), classes=10)
    expected = ["bn1", *(f"layer{stage}.{block}.add" for stage in (1, 2, 3) for block in range(3))]
    assert list(find_layers(model, "bn1,layer*.add", example=IMAGES)) == expected


def test_all_stands_for_the_modules_that_hold_no_others() -> None:
    model = build_model("resnet20_w1", shape=(3, 32, 32), classes=10)
    layers = find_layers(model, "all", example=IMAGES)
    assert "layer2.0.downsample.1" in layers
    assert "layer2.0.downsample" not in layers
    assert layers[0] == "conv1"
    assert layers[-1] == "fc"


def test_a_shared_module_is_found_by_either_of_its_names() -> None:
    model = nn.Sequential()
    model.add_module("one", nn.Linear(4, 4))
    model.add_module("relu", nn.ReLU())
    model.add_module("other", model.one)
    assert find_layers(model, "other#2", example=torch.randn(1, 4)) == ("one#2",)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ("frst", "Did you mean 'first'"),
        ("relu", "called 2 times.*'relu#1', 'relu#2'"),
        ("relu#3", "called 2 times.*received relu#3"),
        ("first#2", "called once"),
        ("idle", "takes no part in the forward pass"),
        ("conv*", "No layer matches 'conv\\*'. Layers: first, relu, last"),
        (" , ", "received none"),
    ],
)
def test_what_does_not_exist_is_named_with_a_way_out(patterns: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        find_layers(Twice(), patterns, example=torch.randn(2, 4))


def test_looking_for_layers_leaves_modes_and_hooks_as_they_were() -> None:
    model = Twice().train()
    model.relu.eval()
    find_layers(model, "*", example=torch.randn(2, 4))
    assert model.training
    assert not model.relu.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
