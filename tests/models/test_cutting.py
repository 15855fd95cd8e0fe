"""Networks cut at their layers: the parts do what the whole does, run nothing else, and hold nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.models.cuts import check_cut, close, generic
from torch import nn

from weightscape.errors import ModelError
from weightscape.models.addresses import find_layers
from weightscape.models.building import build_model
from weightscape.models.cutting import back_of, front_of

SHAPE = (3, 32, 32)
IMAGES = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))
SMALL: list[Any] = [
    "mlp",
    "dense",
    "lenet",
    {"name": "cnn", "depth": 3, "channels": 4, "hidden": 6},
    {"name": "conv4", "width": 0.05},
    "tiny10",
]
WIDER: list[Any] = [f"resnet20_w{width}" for width in range(2, 6)]
LARGE: list[Any] = [
    {"name": "conv6", "width": 0.05},
    {"name": "conv8", "width": 0.05},
    {"name": "tiny10", "batch_norm": False},
    *("resnet20_w1", *WIDER),
    *({"name": f"{kind}resnet{depth}", "width": 0.05} for kind in ("", "fixup_") for depth in (18, 34, 50)),
    {"name": "resnet18", "width": 0.05, "stem": "imagenet"},
]


def network(settings: Any) -> nn.Module:
    return generic(build_model(settings, shape=SHAPE, classes=10))


@pytest.mark.parametrize("settings", SMALL, ids=str)
def test_plain_networks_are_cut_in_their_graph_at_every_layer(settings: Any) -> None:
    model = network(settings)
    for layer in find_layers(model, "*", example=IMAGES):
        back = check_cut(model, layer, IMAGES)
        assert back.method == "graph"
        assert back.sides is None


@pytest.mark.slow
@pytest.mark.parametrize("settings", [*SMALL, *LARGE], ids=str)
def test_all_networks_are_cut_in_their_graph_before_and_after_layers(settings: Any) -> None:
    model = network(settings)
    layers = [layer for pattern in ("*", "*:input") for layer in find_layers(model, pattern, example=IMAGES)]
    # Blocks repeat each other: some layers, spread over all stages, say as much; few where a network is only wider.
    count = min(len(layers), 3 if settings in WIDER else 9)
    for layer in (layers[number * len(layers) // count] for number in range(count)):
        assert check_cut(model, layer, IMAGES[:3]).method == "graph"


@pytest.mark.parametrize(
    ("settings", "layer", "sides"),
    [
        ("resnet20_w1", "bn1", 0),
        ("resnet20_w1", "layer1.0.bn1", 1),
        ("resnet20_w1", "layer1.0.conv1:input", 1),
        ("resnet20_w1", "layer2.0.downsample.0", 1),
        ("resnet20_w1", "layer2.0.bn2", 1),
        ("resnet20_w1", "layer2.1.add", 0),
        ("resnet20_w1", "layer2.1.relu2:input", 0),
        ("resnet20_w1", "layer3", 0),
        ("resnet20_w1", "fc", 0),
        ({"name": "fixup_resnet18", "width": 0.05}, "layer2.0.conv1", 1),
        ({"name": "fixup_resnet18", "width": 0.05}, "layer4.0.add", 0),
        ({"name": "inceptionv1", "batch_norm": False}, "mixed4a_3x3_pre_relu_conv", 3),
        ({"name": "inceptionv1", "batch_norm": False}, "mixed4a_pre_relu", 0),
    ],
    ids=str,
)
def test_what_goes_around_a_cut_is_apart(settings: Any, layer: str, sides: int) -> None:
    model = network(settings)
    back = check_cut(model, layer, IMAGES[:3])
    assert len(() if back.sides is None else back.sides(IMAGES)) == sides


def test_parts_hold_the_tensors_they_use_under_their_own_names() -> None:
    model = network("tiny10")
    front, back = front_of(model, "bn3", example=IMAGES), back_of(model, "bn3", example=IMAGES)
    names = list(model.state_dict())
    cut = names.index("bn3.num_batches_tracked") + 1
    assert list(front.state_dict()) == names[:cut]
    assert list(back.tail.state_dict()) == list(back.whole.state_dict()) == names[cut:]
    assert front.state_dict()["conv1.weight"].data_ptr() == model.conv1.weight.data_ptr()


def test_the_shortcut_around_a_cut_is_not_computed_by_the_tail() -> None:
    back = back_of(network("resnet20_w1"), "layer2.0.bn1", example=IMAGES)
    assert "layer2.0.downsample.0.weight" in back.sides.state_dict()
    assert not any(name.startswith(("layer2.0.downsample", "layer1")) for name in back.tail.state_dict())
    # the input of the block goes around the cut as the projected shortcut alone
    assert [tuple(side.shape[1:]) for side in back.sides(IMAGES)] == [(32, 16, 16)]


def test_only_the_activation_gets_a_gradient_unless_the_parts_are_to_be_trained() -> None:
    model = network("tiny10")
    front, back = front_of(model, "bn3", example=IMAGES), back_of(model, "bn3", example=IMAGES)
    activation = front(IMAGES).requires_grad_()
    back.tail(activation).square().sum().backward()
    assert activation.grad is not None
    assert activation.grad.abs().max() > 0
    assert not any(parameter.requires_grad for parameter in back.tail.parameters())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    tail = back_of(model, "bn3", example=IMAGES, trainable=True).tail
    assert tail.get_parameter("conv4.weight") is model.conv4.weight


@pytest.mark.parametrize("settings", ["tiny10", {"name": "resnet18", "width": 0.05}], ids=str)
def test_folded_batch_norms_change_the_speed_alone(settings: Any) -> None:
    model = network(settings)
    layer = find_layers(model, "bn1", example=IMAGES)[0]
    plain, folded = (back_of(model, layer, example=IMAGES, fold=fold) for fold in (False, True))
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in plain.tail.modules())
    assert folded.folded == norms > 0
    assert plain.folded == 0
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.tail.modules())
    activation = torch.randn(4, *plain.shape)
    close(folded.tail(activation), plain.tail(activation), "folded")
    assert not any(parameter.requires_grad for parameter in folded.tail.parameters())


def test_parts_of_networks_in_the_layout_channels_last_agree_too() -> None:
    model = network("resnet20_w1").to(memory_format=torch.channels_last)
    images = IMAGES.to(memory_format=torch.channels_last)
    assert check_cut(model, "layer1.1.add", images).method == "graph"


def test_cutting_leaves_modes_and_hooks_of_the_network_as_they_were() -> None:
    model = network("resnet20_w1").train()
    model.bn1.eval()
    statistics = model.layer1[0].bn1.running_mean.clone()
    front, back = front_of(model, "layer1.0.bn1", example=IMAGES), back_of(model, "layer1.0.bn1", example=IMAGES)
    assert model.training
    assert model.layer1[0].bn1.training
    assert not model.bn1.training
    assert torch.equal(model.layer1[0].bn1.running_mean, statistics)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any(module.training for part in (front, back.tail, back.sides) for module in part.modules())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("bn9", "Did you mean 'bn8'"),
        ("bn1#2", "called once"),
        ("bn 1", "no layer 'bn 1'"),
    ],
)
def test_layers_that_do_not_exist_are_refused(layer: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        back_of(network("tiny10"), layer, example=IMAGES)


def test_nothing_after_the_layer_is_run_and_nothing_before_it() -> None:
    model = network("tiny10")
    front, back = front_of(model, "bn3", example=IMAGES), back_of(model, "bn3", example=IMAGES)
    called: list[str] = []
    for part in (front, back.tail):
        for name, module in part.named_modules():
            module.register_forward_hook(lambda *_, name=name: called.append(name))
    front(IMAGES)
    assert "bn3" in called
    assert "relu3" not in called
    assert "fc" not in called
    called.clear()
    back.tail(torch.randn(2, *back.shape))
    assert "bn3" not in called
    assert "conv1" not in called
    assert called[-2:] == ["fc", ""]
