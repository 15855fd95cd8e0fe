"""The networks are those of the papers: names, shapes, counts."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from weightscape.errors import ModelError
from weightscape.models.architecture import NAMES
from weightscape.models.building import build_model
from weightscape.models.layers import layer_table

CIFAR = (3, 32, 32)
NARROW = {name: {"name": name, "width": 0.1} for name in ("conv4", "conv6", "conv8")} | {
    f"{prefix}resnet{depth}": {"name": f"{prefix}resnet{depth}", "width": 0.05}
    for prefix in ("", "fixup_")
    for depth in (18, 34, 50)
}
ALL = {name: NARROW.get(name, name) for name in NAMES}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def outputs(model, shape):
    table = layer_table(model, shape=shape).layers
    return dict(zip(table["name"], table["output"], strict=True))


@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, CIFAR) for name in ALL] + [(name, (1, 28, 28)) for name in ALL if name != "inceptionv1"],
)
def test_a_batch_of_one_yields_one_row_of_logits(name, shape):
    model = build_model(ALL[name], shape=shape, classes=7).eval()
    assert model(torch.zeros(1, *shape)).shape == (1, 7)


@pytest.mark.parametrize("name", ALL)
def test_no_relu_works_in_place(name):
    model = build_model(ALL[name], shape=CIFAR, classes=2)
    assert not any(getattr(module, "inplace", False) for module in model.modules())


@pytest.mark.parametrize("name", ALL)
def test_each_module_has_its_own_place_in_the_forward_pass(name):
    calls = layer_table(build_model(ALL[name], shape=CIFAR, classes=2), shape=CIFAR).layers["calls"]
    assert calls.max() == 1


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 1, 5)])
def test_an_mlp_is_linear_layers_with_relus_between(shape):
    model = build_model({"name": "mlp", "hidden": [6, 5]}, shape=shape, classes=3, seed=1)
    assert list(model.state_dict()) == ["linear1.weight", "linear2.weight", "linear3.weight"]
    first, second, third = model.state_dict().values()
    inputs = torch.randn(4, *shape)
    expected = (inputs.flatten(1) @ first.T).relu() @ second.T
    torch.testing.assert_close(model(inputs), expected.relu() @ third.T)


def test_an_mlp_has_biases_when_asked():
    model = build_model({"name": "mlp", "hidden": [], "bias": True}, shape=(1, 2, 2), classes=3)
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == {
        "linear1.weight": (3, 4),
        "linear1.bias": (3,),
    }


def test_the_mlp_of_the_paper_has_one_group_of_4096():
    model = build_model({"name": "mlp", "hidden": [4096]}, shape=(1, 28, 28), classes=10)
    assert count(model) == 4096 * (784 + 10)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("conv4", [64, 64, 128, 128]),
        ("conv6", [64, 64, 128, 128, 256, 256]),
        ("conv8", [64, 64, 128, 128, 256, 256, 512, 512]),
    ],
)
def test_conv_networks_have_the_channels_of_the_paper(name, channels):
    model = build_model(name, shape=CIFAR, classes=10)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels) for conv in convolutions] == list(pairwise([3, *channels]))
    assert all(conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.bias is not None for conv in convolutions)
    features = 128 * 8 * 8 if name == "conv4" else channels[-1]
    linear = [(module.in_features, module.out_features) for module in model.modules() if isinstance(module, nn.Linear)]
    assert linear == [(features, 256), (256, 256), (256, 10)]


def test_conv8_has_the_published_number_of_parameters():
    assert round(count(build_model("conv8", shape=CIFAR, classes=10)) / 1e6, 3) == 4.885


def test_conv_pools_are_those_of_the_paper():
    assert {
        name: [
            (module.kernel_size, module.stride)
            for module in build_model(name, shape=CIFAR, classes=2).children()
            if isinstance(module, nn.MaxPool2d)
        ]
        for name in ("conv4", "conv6", "conv8")
    } == {
        "conv4": [((2, 2), (2, 2))] * 2,
        "conv6": [((2, 2), (2, 2))] * 2 + [((8, 8), (8, 8))],
        "conv8": [((2, 2), (2, 2))] * 3 + [((4, 4), (4, 4))],
    }


@pytest.mark.parametrize("shape", [CIFAR, (1, 28, 28), (1, 8, 8), (3, 64, 48)])
@pytest.mark.parametrize(("name", "pool"), [("conv6", "pool3"), ("conv8", "pool4")])
def test_the_last_pool_leaves_one_pixel_so_that_a_channel_is_a_feature(name, pool, shape):
    model = build_model({"name": name, "width": 0.1}, shape=shape, classes=2)
    assert outputs(model, shape)[pool].endswith("x1x1")


def test_conv4_flattens_its_maps():
    model = build_model("conv4", shape=(1, 28, 28), classes=2)
    assert outputs(model, (1, 28, 28))["pool2"] == "128x7x7"
    assert model.linear1.in_features == 128 * 49


def test_conv_width_multiplies_all_hidden_widths():
    def widths(width):
        model = build_model({"name": "conv8", "width": width}, shape=CIFAR, classes=10)
        return [module.weight.shape[0] for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]

    assert widths(0.5) == [size // 2 for size in widths(1)[:-1]] + [10]


@pytest.mark.parametrize(("name", "side"), [("conv4", 3), ("conv6", 3), ("conv8", 7), ("tiny10", 26)])
def test_images_that_would_vanish_are_refused_before_training(name, side):
    with pytest.raises(ModelError, match=f"at least {side + 1}x{side + 1} pixels, received inputs of shape"):
        build_model(name, shape=(3, 64, side), classes=10)
    smallest = (3, side + 1, side + 1)
    assert build_model(name, shape=smallest, classes=10).eval()(torch.zeros(1, *smallest)).shape == (1, 10)


def test_resnet18_has_the_published_tensors_and_parameters():
    model = build_model({"name": "resnet18", "stem": "imagenet"}, shape=(3, 224, 224), classes=1000)
    assert len(list(model.parameters())) == 62
    assert count(model) == 11_689_512
    assert outputs(model, (3, 224, 224))["layer4.1.relu2"] == "512x7x7"


def test_the_small_stem_keeps_the_resolution():
    model = build_model("resnet18", shape=CIFAR, classes=10)
    assert model.conv1.kernel_size == (3, 3)
    maps = outputs(model, CIFAR)
    assert [maps[name] for name in ("relu", "layer1", "layer2", "layer3", "layer4")] == [
        "64x32x32",
        "64x32x32",
        "128x16x16",
        "256x8x8",
        "512x4x4",
    ]


@pytest.mark.parametrize("stem", ["small", "imagenet"])
@pytest.mark.parametrize("width", [0.25, 1, 1.5])
def test_resnet_width_scales_the_stem_so_that_layer1_keeps_its_identity_shortcut(width, stem):
    """The published code left the stem at 64 channels, so that layer1.0 grew a projection at other widths."""
    model = build_model({"name": "resnet18", "width": width, "stem": stem}, shape=CIFAR, classes=10)
    assert model.conv1.out_channels == 64 * width
    assert len(list(model.parameters())) == 62
    projections = {name.split(".downsample")[0] for name in model.state_dict() if "downsample" in name}
    assert projections == {"layer2.0", "layer3.0", "layer4.0"}
    assert [getattr(model, f"layer{stage}")[1].conv2.out_channels for stage in (1, 2, 3, 4)] == [
        channels * width for channels in (64, 128, 256, 512)
    ]


def test_a_basic_block_adds_its_shortcut_before_the_last_relu():
    block = build_model({"name": "resnet18", "width": 0.1}, shape=CIFAR, classes=10).layer2[0].eval()
    inputs = torch.randn(2, 6, 4, 4)
    branch = block.bn2(block.conv2(block.bn1(block.conv1(inputs)).relu()))
    torch.testing.assert_close(block(inputs), (branch + block.downsample(inputs)).relu())


def test_tiny10_has_the_published_parameters_names_and_maps():
    model = build_model("tiny10", shape=CIFAR, classes=10)
    assert count(model) == 86_778
    maps = outputs(model, CIFAR)
    blocks = [f"{kind}{number}" for number in range(1, 9) for kind in ("conv", "bn", "relu")]
    assert list(maps) == [*blocks, "pool", "flatten", "fc"]
    sides, channels = [30, 28, 13, 11, 9, 4, 2, 2], [16, 16, 32, 32, 32, 64, 64, 64]
    assert [maps[f"bn{number}"] for number in range(1, 9)] == [
        f"{channel}x{side}x{side}" for channel, side in zip(channels, sides, strict=True)
    ]


def test_tiny10_without_batch_norm_has_the_published_parameters():
    model = build_model({"name": "tiny10", "batch_norm": False}, shape=CIFAR, classes=10)
    assert count(model) == 86_138
    assert not any("bn" in name for name, _ in model.named_modules())
