"""ResNet-20, -34, -50 and Fixup networks, and how they are initialised."""

from itertools import pairwise
from math import sqrt

import pytest
import torch

from weightscape.errors import ModelError
from weightscape.models.building import build_model
from weightscape.models.layers import layer_table

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)
COUNTS = {18: (2, 2, 2, 2), 20: (3, 3, 3), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def counted_by_hand(depth, widths, *, classes, stem):
    """Add up the parameters of a residual network with batch norm from its definition."""

    def convolution(inputs, outputs, side):
        return inputs * outputs * side**2 + 2 * outputs  # with the scale and shift of its batch norm

    total, inputs = convolution(3, widths[0], stem), widths[0]
    for stage, (width, blocks) in enumerate(zip(widths, COUNTS[depth], strict=True)):
        outputs = 4 * width if depth == 50 else width
        for block in range(blocks):
            if depth == 50:
                total += convolution(inputs, width, 1) + convolution(width, width, 3) + convolution(width, outputs, 1)
            else:
                total += convolution(inputs, width, 3) + convolution(width, width, 3)
            if block == 0 and (stage > 0 or inputs != outputs):
                total += convolution(inputs, outputs, 1)
            inputs = outputs
    return total + (inputs + 1) * classes


@pytest.mark.parametrize(
    ("width", "published"), [(1, 272_474), (2, 1_084_586), (3, 2_436_346), (4, 4_327_754), (5, 6_758_810)]
)
def test_resnet20_has_the_published_parameters(width, published):
    model = build_model(f"resnet20_w{width}", shape=CIFAR, classes=10)
    assert count(model) == published
    assert published == counted_by_hand(20, [16 * width, 32 * width, 64 * width], classes=10, stem=3)


@pytest.mark.parametrize(("depth", "published"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)])
def test_imagenet_resnets_have_the_published_parameters(depth, published):
    model = build_model({"name": f"resnet{depth}", "stem": "imagenet"}, shape=IMAGENET, classes=1000)
    assert count(model) == published
    assert published == counted_by_hand(depth, [64, 128, 256, 512], classes=1000, stem=7)


@pytest.mark.parametrize(
    ("depth", "base", "published"),
    [
        (18, 2, 11_420),
        (18, 4, 44_622),
        (18, 8, 176_402),
        (18, 16, 701_466),
        (18, 32, 2_797_610),
        (50, 2, 25_260),
        (50, 4, 96_302),
        (50, 8, 375_762),
        (50, 16, 1_484_186),
        (50, 32, 5_899_050),
    ],
)
def test_widths_are_those_of_the_phase_transition_model_zoos(depth, base, published):
    """The zoos of arXiv 2504.18072 name a width by the channels of its stem, 64 being the standard network."""
    model = build_model({"name": f"resnet{depth}", "width": base / 64}, shape=CIFAR, classes=10)
    assert count(model) == published
    assert published == counted_by_hand(depth, [base * 2**stage for stage in range(4)], classes=10, stem=3)


def test_resnet20_has_the_places_of_the_published_figures():
    table = layer_table(build_model("resnet20_w2", shape=CIFAR, classes=10), shape=CIFAR).layers.set_index("name")
    assert table.output["bn1"] == "32x32x32"
    maps = {1: "32x32x32", 2: "64x16x16", 3: "128x8x8"}
    places = {f"layer{stage}.{block}.add": maps[stage] for stage in maps for block in range(3)}
    assert {name: table.output[name] for name in places} == places
    projections = [name for name in table.index if name.endswith("downsample")]
    assert projections == ["layer2.0.downsample", "layer3.0.downsample"]


def test_resnet50_strides_in_its_3x3_convolutions():
    model = build_model({"name": "resnet50", "width": 0.05}, shape=CIFAR, classes=3)
    assert [getattr(model, f"layer{stage}")[0].conv2.stride for stage in (1, 2, 3, 4)] == [(1, 1), *[(2, 2)] * 3]
    assert all(getattr(model, f"layer{stage}")[0].conv1.stride == (1, 1) for stage in (1, 2, 3, 4))
    assert model.layer1[0].downsample is not None
    assert model.layer1[1].downsample is None


def test_a_bottleneck_adds_its_shortcut_before_the_last_relu():
    block = build_model({"name": "resnet50", "width": 0.1}, shape=CIFAR, classes=10).layer2[0].eval()
    inputs = torch.randn(2, 24, 4, 4)
    hidden = block.bn2(block.conv2(block.bn1(block.conv1(inputs)).relu())).relu()
    torch.testing.assert_close(block(inputs), (block.bn3(block.conv3(hidden)) + block.downsample(inputs)).relu())


def convolutions(model):
    return {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Conv2d)}


def fan(convolution, channels):
    return channels * convolution.kernel_size[0] ** 2


@pytest.mark.parametrize("name", ["resnet18", "resnet20_w1"])
def test_he_fan_out_draws_normal_convolutions_and_leaves_the_head(name):
    model = build_model({"name": name, "initialisation": "he-fan-out"}, shape=CIFAR, classes=10, seed=1)
    for convolution in convolutions(model).values():
        if convolution.weight.numel() > 4000:
            scale = sqrt(2 / fan(convolution, convolution.out_channels))
            assert convolution.weight.std().item() == pytest.approx(scale, rel=0.05)
            assert convolution.weight.abs().max() > 2.5 * scale  # a uniform distribution ends at sqrt(3) of it
    assert model.fc.weight.abs().max() <= 1 / sqrt(model.fc.in_features)


def test_he_fan_in_draws_uniform_convolutions_and_head():
    model = build_model({"name": "resnet18", "width": 0.5, "initialisation": "he-fan-in"}, shape=CIFAR, classes=100)
    for layer in convolutions(model).values():
        bound = sqrt(6 / fan(layer, layer.in_channels))
        assert 0.95 * bound < layer.weight.abs().max() <= bound
    assert 0.95 * sqrt(6 / 256) < model.fc.weight.abs().max() <= sqrt(6 / 256)
    assert (model.fc.bias == 0.01).all()


def test_resnet20_starts_as_published_unless_told_otherwise():
    default, plain = (
        build_model({"name": "resnet20_w1", **options}, shape=CIFAR, classes=10, seed=2)
        for options in ({}, {"initialisation": "pytorch"})
    )
    fan_out = build_model({"name": "resnet20_w1", "initialisation": "he-fan-out"}, shape=CIFAR, classes=10, seed=2)
    assert torch.equal(default.conv1.weight, fan_out.conv1.weight)
    assert not torch.equal(default.conv1.weight, plain.conv1.weight)


@pytest.mark.parametrize(
    ("depth", "classes", "published"), [(50, 345, 24_161_931), (50, 5, 23_465_271), (18, 10, 11_172_084)]
)
def test_fixup_networks_have_the_published_parameters(depth, classes, published):
    model = build_model({"name": f"fixup_resnet{depth}", "stem": "imagenet"}, shape=IMAGENET, classes=classes)
    assert count(model) == published
    if depth == 50:
        assert len(list(model.parameters())) == 169


def test_fixup_tensors_carry_the_published_names():
    model = build_model({"name": "fixup_resnet50", "width": 0.05}, shape=CIFAR, classes=4)
    block = {"bias1a", "bias1b", "bias2a", "bias2b", "bias3a", "scale", "bias3b"} | {
        f"conv{number}.weight" for number in (1, 2, 3)
    }
    expected = {"bias1", "bias2", "conv1.weight", "fc.weight", "fc.bias"} | {
        f"layer{stage}.{number}.{name}"
        for stage, blocks in enumerate(COUNTS[50], start=1)
        for number in range(blocks)
        for name in (block | {"downsample.weight"} if number == 0 else block)
    }
    assert set(model.state_dict()) == expected
    scalars = [parameter for name, parameter in model.named_parameters() if "bias" in name or "scale" in name]
    assert {parameter.numel() for parameter in scalars} == {1, 4}


@pytest.mark.parametrize("depth", [18, 50])
def test_fixup_scales_its_branches_with_the_depth(depth):
    model = build_model({"name": f"fixup_resnet{depth}", "width": 0.5}, shape=CIFAR, classes=4, seed=3)
    blocks, before = sum(COUNTS[depth]), 2 if depth == 50 else 1
    for name, convolution in convolutions(model).items():
        he = sqrt(2 / fan(convolution, convolution.out_channels))
        if name == "conv1" or convolution.weight.numel() < 4000:
            continue
        if name.endswith(f"conv{before + 1}"):
            assert not convolution.weight.any()
        elif "downsample" in name:
            assert convolution.weight.std().item() == pytest.approx(he, rel=0.05)
        else:
            expected = he * blocks ** (-1 / 4 if depth == 50 else -1 / 2)
            assert convolution.weight.std().item() == pytest.approx(expected, rel=0.05)


def test_fixup_blocks_start_as_their_shortcuts():
    model = build_model({"name": "fixup_resnet50", "width": 0.1}, shape=CIFAR, classes=4)
    inputs = torch.rand(2, 24, 4, 4)
    torch.testing.assert_close(model.layer1[1](inputs), inputs)
    torch.testing.assert_close(model.layer2[0](inputs), model.layer2[0].downsample(inputs).relu())


def randomised(block):
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return block


def test_a_fixup_bottleneck_computes_the_published_formula():
    model = build_model({"name": "fixup_resnet50", "width": 0.1}, shape=CIFAR, classes=4)
    block, inputs = randomised(model.layer2[0]), torch.randn(2, 24, 6, 6)
    hidden = (block.conv1(inputs + block.bias1a) + block.bias1b).relu()
    hidden = (block.conv2(hidden + block.bias2a) + block.bias2b).relu()
    branch = block.scale * block.conv3(hidden + block.bias3a) + block.bias3b
    torch.testing.assert_close(block(inputs), (branch + block.downsample(inputs + block.bias1a)).relu())
    assert block.conv2.stride == (2, 2)


def test_a_fixup_basic_block_computes_the_published_formula():
    model = build_model({"name": "fixup_resnet18", "width": 0.1}, shape=CIFAR, classes=4)
    block, inputs = randomised(model.layer1[0]), torch.randn(2, 6, 6, 6)
    hidden = (block.conv1(inputs + block.bias1a) + block.bias1b).relu()
    branch = block.scale * block.conv2(hidden + block.bias2a) + block.bias2b
    torch.testing.assert_close(block(inputs), (branch + inputs).relu())


def test_a_fixup_head_starts_at_zero_when_asked():
    images = torch.randn(2, *CIFAR)
    settings = {"name": "fixup_resnet18", "width": 0.1}
    assert not build_model({**settings, "zero_head": True}, shape=CIFAR, classes=4)(images).any()
    assert build_model(settings, shape=CIFAR, classes=4)(images).any()


@pytest.mark.parametrize("wrong", ["resnet20", "resnet_w3", "fixup_resnet5"])
def test_names_of_other_tools_get_ours(wrong):
    right = {"resnet20": "resnet20_w1", "resnet_w3": "resnet20_w3", "fixup_resnet5": "fixup_resnet50"}[wrong]
    with pytest.raises(ModelError, match=f"Did you mean '{right}'"):
        build_model(wrong, shape=CIFAR, classes=10)


def test_widths_of_neighbouring_stages_double():
    model = build_model({"name": "resnet34", "width": 0.125}, shape=CIFAR, classes=10)
    stages = [getattr(model, f"layer{stage}")[-1].conv2.out_channels for stage in (1, 2, 3, 4)]
    assert all(after == 2 * before for before, after in pairwise(stages))
    assert [len(getattr(model, f"layer{stage}")) for stage in (1, 2, 3, 4)] == [3, 4, 6, 3]
