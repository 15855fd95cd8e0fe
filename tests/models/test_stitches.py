"""Stitches are the maps they say they are, on maps in any layout; stitched networks glue two networks at a layer."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.models.cuts import close, generic
from torch import nn

from weightscape.errors import ModelError
from weightscape.models.addresses import find_layers
from weightscape.models.architecture import NAMES, parse_architecture
from weightscape.models.building import build_model, build_on_meta
from weightscape.models.cutting import back_of, front_of
from weightscape.models.layers import layer_table
from weightscape.models.recognition import recognise, shapes_of
from weightscape.models.stitches import AffineStitch, FlatStitch, LowRankStitch, StitchedNetwork, make_stitch
from weightscape.training.evaluation import evaluate
from weightscape.training.layout import private_copy
from weightscape.weights.algebra import weights_of

SHAPE = (3, 32, 32)
IMAGES = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))


def stitched(front_layer: str = "bn3", back_layer: str = "bn3") -> tuple[nn.Module, nn.Module, StitchedNetwork]:
    front, back = (generic(build_model("tiny10", shape=SHAPE, classes=10, seed=seed), seed) for seed in (0, 1))
    after = back_of(back, back_layer, example=IMAGES)
    before = front_of(front, front_layer, example=IMAGES)
    stitch = make_stitch(before(IMAGES).shape[1:], after.shape)
    return front, back, StitchedNetwork(before, stitch, after)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_affine_stitch_maps_the_channels_of_every_pixel(layout: torch.memory_format) -> None:
    stitch = AffineStitch(5, 7)
    maps = torch.randn(3, 5, 4, 6).to(memory_format=layout)
    expected = torch.einsum("oc,nchw->nohw", stitch.matrix(), maps) + stitch.bias.view(-1, 1, 1)
    close(stitch(maps), expected, "maps")
    close(stitch(maps[:, :, 0, 0]), expected[:, :, 0, 0], "vectors")
    close(stitch(maps[:, :, 0]), expected[:, :, 0], "sequences")


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_low_rank_stitch_is_the_affine_one_of_its_product(layout: torch.memory_format) -> None:
    """Defect 4 of the published code: low-rank matrices were stored transposed and reloaded wrongly."""
    stitch = LowRankStitch(5, 7, rank=2)
    affine = AffineStitch(5, 7)
    affine.load_state_dict({"weight": stitch.matrix().detach(), "bias": stitch.bias.detach()})
    assert torch.linalg.matrix_rank(stitch.matrix()) == 2
    maps = torch.randn(3, 5, 4, 6).to(memory_format=layout)
    close(stitch(maps), affine(maps), "low rank")


def test_a_flat_stitch_does_not_depend_on_the_layout_in_memory() -> None:
    """Defect 9 of the published code: flat stitches failed on channels_last activations."""
    stitch = FlatStitch((5, 4, 6), (2, 3, 3))
    maps = torch.randn(3, 5, 4, 6)
    expected = (maps.flatten(1) @ stitch.weight.T + stitch.bias).view(3, 2, 3, 3)
    close(stitch(maps), expected, "contiguous")
    close(stitch(maps.to(memory_format=torch.channels_last)), expected, "channels last")


@pytest.mark.parametrize(
    ("front", "back", "options", "message"),
    [
        ((5, 4, 4), (9,), {}, "one has pixels"),
        ((5, 4, 4), (9, 2, 2), {"resize": "refuse"}, "'bilinear'"),
        ((5, 4, 4), (9, 4, 4), {"form": "low-rank"}, "Expected a rank"),
        ((5, 4, 4), (9, 4, 4), {"rank": 2}, "Expected a rank"),
        ((5, 4, 4), (9, 4, 4), {"form": "low-rank", "rank": 6}, "rank from 1 to 5"),
    ],
)
def test_shapes_that_cannot_be_stitched_are_refused(
    front: tuple[int, ...], back: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        make_stitch(front, back, **options)


@torch.no_grad()
def test_the_identity_between_a_network_and_itself_gives_the_network() -> None:
    model = generic(build_model("resnet20_w1", shape=SHAPE, classes=10))
    for layer in ("bn1", "layer1.0.bn1", "layer2.0.add"):
        back = back_of(model, layer, example=IMAGES)
        stitch = AffineStitch(back.shape[0], back.shape[0])
        stitch.load_state_dict({"weight": torch.eye(back.shape[0]), "bias": torch.zeros(back.shape[0])})
        network = StitchedNetwork(front_of(model, layer, example=IMAGES), stitch, back)
        close(network(IMAGES), model(IMAGES), layer)


def test_a_stitched_network_holds_the_tensors_it_uses_under_the_names_of_its_networks() -> None:
    front, _back, network = stitched("bn3", "relu5")
    names = list(network.state_dict())
    of_front = [
        name for name in front.state_dict() if name[-1 - name[::-1].index(".") - 1] in "123" and name[:2] != "fc"
    ]
    assert [name for name in names if name.startswith("front.")] == [f"front.{name}" for name in of_front]
    assert [name for name in names if name.startswith("stitch.")] == ["stitch.weight", "stitch.bias"]
    assert not {"back.conv5.weight", "back.bn5.weight", "back.conv1.weight"} & set(names)
    assert {"back.conv6.weight", "back.fc.bias"} <= set(names)


def test_only_the_stitch_of_a_stitched_network_trains_and_its_networks_stay_in_evaluation_mode() -> None:
    _, _, network = stitched()
    network.train()
    assert network.stitch.training
    assert not any(module.training for part in (network.front, network.back) for module in part.modules())
    statistics = copy.deepcopy(dict(network.named_buffers()))
    network(IMAGES).square().sum().backward()
    assert [name for name, one in network.named_parameters() if one.grad is not None] == [
        "stitch.weight",
        "stitch.bias",
    ]
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in network.named_buffers())


def test_a_stitched_network_is_copied_saved_and_evaluated_as_any_network() -> None:
    _, _, network = stitched("relu4", "bn4")
    labels = torch.tensor([1, 2, 3, 4])
    expected = evaluate(network, [(IMAGES, labels)])
    duplicate = private_copy(network, "cpu")
    assert evaluate(duplicate, [(IMAGES, labels)]).loss == pytest.approx(expected.loss, rel=1e-5)
    settings = {"name": "stitched", "front": "tiny10", "back": "tiny10", "front_layer": "relu4", "back_layer": "bn4"}
    built = build_model(settings, shape=SHAPE, classes=10)
    built.load_state_dict(weights_of(network))
    assert evaluate(built, [(IMAGES, labels)]).loss == pytest.approx(expected.loss, rel=1e-5)
    assert "stitch" in find_layers(built, "*", example=IMAGES)


@pytest.mark.parametrize(
    "settings",
    [
        {
            "front": "tiny10",
            "back": {"name": "resnet20_w1"},
            "front_layer": "bn6",
            "back_layer": "layer2.0.bn1",
            "resize": "bilinear",
        },
        {
            "front": "dense",
            "back": "dense",
            "front_layer": "relu1",
            "back_layer": "fc2:input",
            "form": "low-rank",
            "rank": 3,
        },
        {"front": "lenet", "back": "dense", "front_layer": "pool2", "back_layer": "relu2", "form": "flat"},
    ],
    ids=str,
)
def test_the_architecture_builds_a_stitched_network_with_and_without_memory(settings: dict[str, Any]) -> None:
    settings = {"name": "stitched", **settings}
    network = build_model(settings, shape=SHAPE, classes=10, seed=3)
    assert network(IMAGES).shape == (4, 10)
    again = build_model(parse_architecture(settings), shape=SHAPE, classes=10, seed=3)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in network.state_dict().items())
    empty = build_on_meta(parse_architecture(settings), shape=SHAPE, classes=10)
    assert shapes_of(empty.state_dict()) == shapes_of(network.state_dict())
    table = layer_table(network, shape=SHAPE).layers.set_index("name")
    assert table.loc["stitch", "calls"] == 1
    assert table.loc["stitch", "multiply_adds"] > 0


def test_settings_of_a_stitched_network_are_checked_in_depth() -> None:
    settings = {"name": "stitched", "front": "tiny10", "back": "tiny10", "front_layer": "bn3", "back_layer": "bn3"}
    parsed = parse_architecture(settings)
    assert parsed.model_dump(exclude_defaults=True)["front"] == {"name": "tiny10"}
    assert parsed.fingerprint() is None
    with pytest.raises(ModelError, match="Did you mean 'tiny10'"):
        parse_architecture({**settings, "back": "tiny11"})
    with pytest.raises(ModelError, match="Did you mean 'bn3'"):
        build_model({**settings, "front_layer": "bm3"}, shape=SHAPE, classes=10)
    nested = parse_architecture({**settings, "front": settings, "front_layer": "stitch"})
    assert build_model(nested, shape=SHAPE, classes=10)(IMAGES).shape == (4, 10)


def test_code_of_the_users_own_in_either_network_is_part_of_the_fingerprint(monkeypatch, tmp_path) -> None:
    (tmp_path / "my_networks_for_stitching.py").write_text("def small(classes): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = "my_networks_for_stitching.small"
    settings = {"name": "stitched", "front_layer": "a", "back_layer": "a"}
    found = [
        parse_architecture({**settings, "front": front, "back": back}).fingerprint()
        for front, back in ((own, "mlp"), ("mlp", own), (own, own))
    ]
    assert None not in found
    assert len(set(found)) == 3


def test_names_and_recognition_of_architectures_know_nothing_of_stitched_networks() -> None:
    _, _, network = stitched()
    assert "stitched" not in NAMES
    assert recognise(shapes_of(network.state_dict()), shape=SHAPE, classes=10) == []
