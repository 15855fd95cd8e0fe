from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from weightscape.errors import SymmetryError
from weightscape.models.building import build_model
from weightscape.symmetry import _tracing
from weightscape.symmetry.discovery import discover
from weightscape.symmetry.groups import Axis, Symmetry
from weightscape.symmetry.verification import verify_symmetry
from weightscape.weights.algebra import weights_of

from .discovery_examples import IMAGES, VECTORS, ZOO, Net, concat_depthwise, flattened, group_norm, grouped, layer_norm

CIFAR = (3, 32, 32)


def sizes(symmetry: Symmetry) -> dict[str, int]:
    return {group.name: group.size for group in symmetry.groups}


def bundled(name: str, *, compat: bool = False, shape: tuple[int, int, int] = CIFAR, **options: object) -> Symmetry:
    model = build_model({"name": name, **options}, shape=shape, classes=10)
    return discover(model, torch.zeros(2, *shape), compat=compat)


@pytest.mark.parametrize("name", ZOO)
def test_groups_are_those_worked_out_by_hand_and_hold(name: str) -> None:
    build, example, expected = ZOO[name]
    model = build()
    symmetry = discover(model, example)
    assert sizes(symmetry) == expected
    evidence = verify_symmetry(model, symmetry)
    assert evidence.largest_error < 1e-12
    assert not evidence.smallest_effect < 1e-4  # the proof has power; NaN for groups of a single axis


def test_the_mlp_has_one_group() -> None:
    symmetry = bundled("mlp", shape=(1, 28, 28), hidden=[4096])
    assert sizes(symmetry) == {"linear1": 4096}
    assert symmetry.groups[0].axes == (Axis("linear1.weight", 0), Axis("linear2.weight", 1))
    reasons = {(fixed.tensor, fixed.axis): fixed.reason for fixed in symmetry.fixed}
    assert reasons == {("linear1.weight", 1): "network input", ("linear2.weight", 0): "output of the network"}


def test_conv8_and_conv6_have_ten_and_eight_groups() -> None:
    assert list(sizes(bundled("conv8")).values()) == [64, 64, 128, 128, 256, 256, 512, 512, 256, 256]
    assert list(sizes(bundled("conv6")).values()) == [64, 64, 128, 128, 256, 256, 256, 256]


def test_conv4_has_six_groups_and_the_five_of_the_published_code_in_compat_mode() -> None:
    assert list(sizes(bundled("conv4")).values()) == [64, 64, 128, 128, 256, 256]
    compat = bundled("conv4", compat=True)
    assert list(sizes(compat).values()) == [64, 64, 128, 256, 256]
    assert any("flattened with its positions" in fixed.reason for fixed in compat.fixed)


def test_a_flattened_map_moves_in_whole_channels() -> None:
    axes = {axis.tensor: axis for axis in bundled("conv4").groups[3].axes}
    assert [axis for axis in axes.values() if axis.repeat > 1] == [Axis("linear1.weight", 1, repeat=64)]


@pytest.fixture(scope="module")
def resnet() -> tuple[nn.Module, Symmetry]:
    model = build_model({"name": "resnet18", "width": 0.125}, shape=(3, 16, 16), classes=10)
    return model, discover(model, torch.zeros(2, 3, 16, 16))


def test_resnet18_has_four_residual_streams_and_eight_inner_groups(resnet: tuple[nn.Module, Symmetry]) -> None:
    groups = sizes(resnet[1])
    inner = {f"layer{stage}.{block}.conv1": 2 ** (stage + 2) for stage in (1, 2, 3, 4) for block in (0, 1)}
    assert {name: size for name, size in groups.items() if name.endswith(".conv1")} == inner
    assert [size for name, size in groups.items() if name not in inner] == [8, 16, 32, 64]


def test_the_first_residual_stream_holds_every_tensor_on_it(resnet: tuple[nn.Module, Symmetry]) -> None:
    model, symmetry = resnet
    stream = symmetry.group("conv1")
    norms = {"bn1", "layer1.0.bn2", "layer1.1.bn2"}
    norm_tensors = {
        (f"{norm}.{part}", 0) for norm in norms for part in ("weight", "bias", "running_mean", "running_var")
    }
    outputs = {("conv1.weight", 0), ("layer1.0.conv2.weight", 0), ("layer1.1.conv2.weight", 0)}
    (shortcut,) = [
        name
        for name, tensor in model.state_dict().items()
        if name.startswith("layer2.0") and tensor.shape[2:] == (1, 1)
    ]
    inputs = {(f"{name}.weight", 1) for name in ("layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1")}
    assert {(axis.tensor, axis.axis) for axis in stream.axes} == norm_tensors | outputs | inputs | {(shortcut, 1)}


def test_every_axis_of_every_weight_is_either_in_a_group_or_fixed_with_a_reason(
    resnet: tuple[nn.Module, Symmetry],
) -> None:
    model, symmetry = resnet
    moved = {(axis.tensor, axis.axis) for group in symmetry for axis in group.axes}
    fixed = {(item.tensor, item.axis) for item in symmetry.fixed}
    everything = {(name, axis) for name, tensor in model.state_dict().items() for axis in range(min(tensor.ndim, 2))}
    assert moved | fixed == everything
    assert not moved & fixed
    assert {item.reason for item in symmetry.fixed} == {"network input", "output of the network"}


def test_counters_of_batches_stay(resnet: tuple[nn.Module, Symmetry]) -> None:
    assert not [axis for group in resnet[1] for axis in group.axes if "num_batches" in axis.tensor]


@pytest.mark.slow
def test_the_full_resnet18_has_the_published_sizes() -> None:
    inner_and_streams = sorted(sizes(bundled("resnet18")).values())
    assert inner_and_streams == sorted([64, 128, 256, 512] * 3)


FAMILIES = {
    "lenet": ({}, {"conv1": 6, "conv2": 16, "fc1": 120, "fc2": 84}),
    "dense": ({}, {"fc1": 300, "fc2": 300, "fc3": 300}),
    "cnn": ({"depth": 3, "channels": 7, "hidden": 9}, {"conv0": 7, "conv1": 7, "conv2": 7, "fc": 9}),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_small_families_have_a_group_per_hidden_layer_and_they_hold(name: str) -> None:
    options, expected = FAMILIES[name]
    model = build_model({"name": name, **options}, shape=(1, 16, 16), classes=5)
    symmetry = discover(model, torch.zeros(2, 1, 16, 16))
    assert sizes(symmetry) == expected
    assert verify_symmetry(model, symmetry).largest_error < 1e-12


def test_resnet20_has_three_residual_streams_and_nine_inner_groups() -> None:
    model = build_model("resnet20_w1", shape=(3, 8, 8), classes=10)
    symmetry = discover(model, torch.zeros(2, 3, 8, 8))
    assert sorted(sizes(symmetry).values()) == [16] * 4 + [32] * 4 + [64] * 4
    assert verify_symmetry(model, symmetry).largest_error < 1e-12


@pytest.mark.parametrize(
    ("name", "streams", "inner"),
    [
        ("fixup_resnet18", [4, 8, 16, 32], [4] * 2 + [8] * 2 + [16] * 2 + [32] * 2),
        *(
            pytest.param(name, streams, inner, marks=pytest.mark.slow)
            for name, streams, inner in [
                ("resnet34", [4, 8, 16, 32], [4] * 3 + [8] * 4 + [16] * 6 + [32] * 3),
                ("resnet50", [4, 16, 32, 64, 128], [4] * 6 + [8] * 8 + [16] * 12 + [32] * 6),
                ("fixup_resnet50", [4, 16, 32, 64, 128], [4] * 6 + [8] * 8 + [16] * 12 + [32] * 6),
            ]
        ),
    ],
)
def test_deep_resnets_have_a_stream_per_stage_and_groups_inside_each_block(
    name: str, streams: list[int], inner: list[int]
) -> None:
    """Published tables for ResNet-50 give its first stage the permutation of the narrower stem, which is none of it."""
    model = build_model({"name": name, "width": 1 / 16}, shape=(3, 8, 8), classes=10)
    symmetry = discover(model, torch.zeros(2, 3, 8, 8))
    assert sorted(sizes(symmetry).values()) == sorted(streams + inner)
    evidence = verify_symmetry(model, symmetry)
    assert evidence.largest_error < 1e-12
    assert evidence.smallest_effect > 1e-6


def test_concatenated_channels_sit_behind_each_other() -> None:
    symmetry = discover(concat_depthwise(), IMAGES)
    assert Axis("head.weight", 1, offset=6) in symmetry.group("right").axes
    assert Axis("depthwise.weight", 0) in symmetry.group("right").axes


def test_grouped_convolutions_move_blocks_together() -> None:
    symmetry = discover(grouped(), IMAGES)
    inputs, outputs = symmetry.group("stem"), symmetry.group("grouped")
    assert (inputs.blocks, inputs.linked, outputs.blocks, outputs.linked) == (4, ("grouped",), 4, ("stem",))
    assert Axis("grouped.weight", 1, grouped=4) in inputs.axes


def test_group_norm_moves_blocks_and_layer_norm_anything() -> None:
    assert discover(group_norm(), IMAGES).group("stem").blocks == 4
    assert discover(layer_norm(), VECTORS).group("0").blocks == 1


@pytest.mark.parametrize("name", ["cumsum", "flip", "lstm"])
def test_operations_that_are_not_understood_pin_what_flows_through_them(name: str) -> None:
    if name == "lstm":
        model: nn.Module = Net(
            lambda net, x: net.head(net.inner(net.stem(x))[0]),
            stem=nn.Linear(5, 6),
            inner=nn.LSTM(6, 6, batch_first=True),
            head=nn.Linear(6, 2),
        )
        symmetry = discover(model, torch.zeros(2, 3, 5))
    else:
        operation = {"cumsum": lambda x: x.cumsum(1), "flip": lambda x: x.flip(1)}[name]
        model = Net(lambda net, x: net.head(operation(net.stem(x))), stem=nn.Linear(5, 6), head=nn.Linear(6, 2))
        symmetry = discover(model, VECTORS)
    assert len(symmetry) == 0
    pinned = {item.tensor for item in symmetry.fixed if f"unsupported operation aten.{name}" in item.reason}
    assert {"stem.weight", "stem.bias", "head.weight"} <= pinned


def test_units_chosen_by_number_stay_and_the_others_move() -> None:
    model = Net(lambda net, x: (net.head(net.stem(x)), net.stem(x)[:, 0]), stem=nn.Linear(5, 6), head=nn.Linear(6, 2))
    symmetry = discover(model, VECTORS)
    assert [(axis.tensor, axis.offset) for axis in symmetry.groups[0].axes] == [
        ("stem.weight", 1),
        ("stem.bias", 1),
        ("head.weight", 1),
    ]
    assert symmetry.groups[0].size == 5


def test_unused_parameters_are_reported_not_moved() -> None:
    model = Net(lambda net, x: net.head(x), head=nn.Linear(5, 2), idle=nn.Linear(3, 4))
    reasons = {item.tensor: item.reason for item in discover(model, VECTORS).fixed}
    assert reasons["idle.weight"] == reasons["idle.bias"] == "not used when the network was traced"


def test_constants_that_differ_per_channel_pin_them() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(5, 4), nn.Linear(4, 2)
            self.register_buffer("scale", torch.arange(4.0), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.stem(x) * self.scale)

    symmetry = discover(Scaled(), VECTORS)
    assert len(symmetry) == 0
    assert "constant" in {item.reason for item in symmetry.fixed}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_model_is_left_as_it_was(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(64, 3)).to(dtype)
    model[1].eval()
    modes, before = [module.training for module in model.modules()], weights_of(model)
    discover(model, IMAGES)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


def test_the_groups_do_not_depend_on_mode_or_numbers() -> None:
    first = flattened()
    second = flattened().double().eval()
    assert discover(first, IMAGES).groups == discover(second, IMAGES).groups


def test_the_other_tracer_finds_the_same_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    build, example, _ = ZOO["grouped"]
    exported = discover(build(), example)
    monkeypatch.setattr(_tracing, "_export", lambda *_: (_ for _ in ()).throw(RuntimeError("refused")))
    assert discover(build(), example).groups == exported.groups
    for name in ("tied_weights", "transposed", "attention"):
        build, example, expected = ZOO[name]
        assert sizes(discover(build(), example)) == expected


def test_what_cannot_be_traced_is_explained(capfd: pytest.CaptureFixture[str]) -> None:
    model = Net(lambda net, x: net.head(x) if x.sum() > 0 else x, head=nn.Linear(5, 5))
    with pytest.raises(SymmetryError, match=r"inputs of shape \(2, 5\).*does not branch on their values"):
        discover(model, VECTORS)
    assert capfd.readouterr().err == ""
    assert model.training


def test_an_example_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(SymmetryError, match="tensor or a tuple of tensors as example input, received list"):
        discover(layer_norm(), [1.0])  # type: ignore[arg-type]
    with pytest.raises(SymmetryError, match=r"Check that model\(example\) runs"):
        discover(layer_norm(), torch.zeros(2, 7))
