"""InceptionV1: published counts, names, paddings and norms, against the operations written out one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from weightscape.errors import ModelError
from weightscape.models.architecture import parse_architecture
from weightscape.models.building import build_model, find_head
from weightscape.models.layers import layer_table
from weightscape.models.recognition import recognise, shapes_of
from weightscape.symmetry.discovery import discover

BLOCKS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
OUTPUTS = (256, 480, 508, 512, 512, 528, 832, 832, 1024)


def built(side: int = 64, *, batch_norm: bool = False, classes: int = 40) -> torch.nn.Module:
    settings = {"name": "inceptionv1", "batch_norm": batch_norm}
    return build_model(settings, shape=(3, side, side), classes=classes, seed=0).eval()


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_are_the_published_number() -> None:
    assert count(built(batch_norm=True)) == 6_088_764  # counted with batch norms that most of the nets do not use
    assert count(built()) == 6_088_764 - 14_584
    assert sum(
        2 * layer.num_features for layer in built(batch_norm=True).modules() if hasattr(layer, "num_features")
    ) == (14_584)
    assert find_head(built(classes=1000)) == "logits"


def test_maps_have_the_published_channels_and_sides() -> None:
    table = layer_table(built(224), shape=(3, 224, 224)).layers.set_index("name")["output"]
    sides = dict(zip(BLOCKS, [28] * 2 + [14] * 5 + [7] * 2, strict=True))
    for block, channels in zip(BLOCKS, OUTPUTS, strict=True):
        side = sides[block]
        assert table[f"mixed{block}_pre_relu"] == table[f"mixed{block}"] == f"{channels}x{side}x{side}"
    assert [table[name] for name in ("conv2d0", "maxpool0", "conv2d1", "conv2d2", "maxpool1")] == [
        "64x112x112",
        "64x56x56",
        "64x56x56",
        "192x56x56",
        "192x28x28",
    ]


def written_out(weights: dict[str, Tensor], images: Tensor, *, batch_norm: bool) -> Tensor:
    """The published description, operation by operation."""

    def convolved(name: str, hidden: Tensor, **options: int) -> Tensor:
        part = f"{name}_pre_relu"
        hidden = functional.conv2d(hidden, weights[f"{part}_conv.weight"], weights[f"{part}_conv.bias"], **options)
        if not batch_norm:
            return hidden
        mean, variance, scale, shift = (
            weights[f"{part}_bn.{tensor}"][:, None, None]
            for tensor in ("running_mean", "running_var", "weight", "bias")
        )
        return (hidden - mean) / (variance + 1e-5).sqrt() * scale + shift

    def halved(hidden: Tensor) -> Tensor:
        return functional.max_pool2d(functional.pad(hidden, (0, 1, 0, 1), value=-torch.inf), 3, 2)

    def normed(hidden: Tensor) -> Tensor:
        squares = functional.pad(hidden.square(), (0, 0, 0, 0, 4, 4))
        mean = sum(squares[:, place : place + hidden.shape[1]] for place in range(9)) / 9
        return hidden / (1 + 1e-4 * mean).sqrt()

    hidden = convolved("conv2d0", functional.pad(images, (2, 3, 2, 3)), stride=2).relu()
    hidden = convolved("conv2d1", normed(halved(hidden))).relu()
    hidden = halved(normed(convolved("conv2d2", hidden, padding=1).relu()))
    for block in BLOCKS:
        hidden = halved(hidden) if block in {"4a", "5a"} else hidden
        name = f"mixed{block}"
        surrounded = functional.pad(hidden, (1, 1, 1, 1), value=-torch.inf)
        branches = [
            convolved(f"{name}_1x1", hidden),
            convolved(f"{name}_3x3", convolved(f"{name}_3x3_bottleneck", hidden).relu(), padding=1),
            convolved(f"{name}_5x5", convolved(f"{name}_5x5_bottleneck", hidden).relu(), padding=2),
            convolved(f"{name}_pool_reduce", functional.max_pool2d(surrounded, 3, 1)),
        ]
        hidden = torch.cat(branches, 1).relu()
    return hidden.mean((2, 3)) @ weights["logits.weight"].T + weights["logits.bias"]


@pytest.mark.parametrize(("side", "batch_norm"), [(64, False), (75, True), (101, False), (33, True)])
def test_it_computes_what_the_description_says(side: int, batch_norm: bool) -> None:
    model, generator = built(side, batch_norm=batch_norm), torch.Generator().manual_seed(side)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    images = 60 * torch.randn(2, 3, side, side, generator=generator)  # so large that the norm over channels matters
    with torch.no_grad():
        expected = written_out(model.state_dict(), images, batch_norm=batch_norm)
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)


def test_weights_of_the_other_convention_need_an_alpha_nine_times_as_large() -> None:
    values = 30 * torch.randn(2, 20, 3, 3, generator=torch.Generator().manual_seed(0))
    padded = functional.pad(values.square(), (0, 0, 0, 0, 4, 4))
    total = sum(padded[:, place : place + 20] for place in range(9))
    by_sum = values / (1 + 1e-4 * total).sqrt()
    torch.testing.assert_close(torch.nn.LocalResponseNorm(9, alpha=9e-4, beta=0.5, k=1.0)(values), by_sum)


def test_smaller_images_leave_a_pixel_or_are_refused() -> None:
    assert built(32)(torch.zeros(1, 3, 32, 32)).shape == (1, 40)
    with pytest.raises(ModelError, match="at least 32x32 pixels"):
        built(31)


def test_every_layer_is_called_once_and_no_relu_works_in_place() -> None:
    model = built(32)
    table = layer_table(model, shape=(3, 32, 32)).layers
    assert (table["calls"] == 1).all()
    assert not any(layer.inplace for layer in model.modules() if isinstance(layer, torch.nn.ReLU))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_its_weights_are_recognised(batch_norm: bool) -> None:
    found = recognise(shapes_of(built(32, batch_norm=batch_norm).state_dict()), shape=(3, 32, 32), classes=40)
    assert found == [parse_architecture({"name": "inceptionv1", "batch_norm": batch_norm})]


@pytest.mark.slow
def test_all_but_the_channels_next_to_a_norm_over_channels_can_be_permuted() -> None:
    model = built(32, batch_norm=True)
    symmetry = discover(model, torch.zeros(2, 3, 32, 32))
    assert len(symmetry.groups) == 1 + 6 * len(BLOCKS)  # conv2d1, and two bottlenecks and four branches of each block
    fixed = {entry.tensor for entry in symmetry.fixed if entry.axis == 0}
    assert {"conv2d0_pre_relu_conv.weight", "conv2d2_pre_relu_conv.weight", "logits.weight"} <= fixed
    permuted = symmetry.random(torch.Generator().manual_seed(0)).apply(model.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(images)
        torch.testing.assert_close(
            torch.func.functional_call(model, permuted, (images,)), expected, rtol=1e-4, atol=1e-5
        )
