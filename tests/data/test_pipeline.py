"""Lists of transforms: the same for every batch size, mixup, functions of the user's own, refused combinations."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from weightscape.data.dataset import Split
from weightscape.data.pipeline import draw_pipeline
from weightscape.data.specification import DataSettings
from weightscape.data.transforms import Augmentation
from weightscape.errors import DataError
from weightscape.studies.keys import essential

ADAPTER: TypeAdapter[Augmentation] = TypeAdapter(Augmentation)
RECIPES: dict[str, Any] = {
    "imagenet-like": [{"name": "pad", "padding": 4}, {"name": "random-resized-crop"}, "flip"],
    "rotated": ["pad-crop", "flip", {"name": "rotation", "degrees": 20}],
    "affine": [
        {"name": "pad", "padding": 4, "mode": "edge"},
        {"name": "affine", "degrees": 5, "scale": [0.9, 1.1], "shear": 5, "interpolation": "bilinear"},
        "center-crop",
    ],
    "pad then crop": [{"name": "pad", "padding": 3, "mode": "edge"}, "crop"],
    "mixup": ["flip", {"name": "mixup", "alpha": 0.7}],
    "own": [{"name": "my_transforms.darker", "most": 0.5}],
}


def parsed(value: Any) -> Augmentation:
    return ADAPTER.validate_python(value)


@pytest.fixture(autouse=True)
def my_transforms(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("my_transforms")

    def darker(images: Tensor, numbers: Tensor, *, most: float = 1.0) -> Tensor:
        return (images * (1 - most * numbers[:, :1, None, None])).to(torch.uint8)

    module.darker = darker  # type: ignore[attr-defined]
    module.broken = lambda images, numbers: 1 / 0  # type: ignore[attr-defined]
    module.floats = lambda images, numbers: images.float()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_transforms", module)
    return module


def numbered(count: int = 23, size: int = 12) -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(count), torch.arange(count), torch.full((3,), 0.4), torch.full((3,), 0.3), count)


def epoch(split: Split, batch_size: int, augment: Augmentation, seed: int = 1) -> tuple[Tensor, Tensor]:
    images, labels = zip(*split.epoch(batch_size, seed=seed, epoch=2, augment=augment), strict=True)
    return torch.cat(images), torch.cat(labels)


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_epoch_does_not_depend_on_the_batch_size(recipe: str) -> None:
    split, augment = numbered(), parsed(RECIPES[recipe])
    state = torch.random.get_rng_state()
    first, again, other_seed = epoch(split, 4, augment), epoch(split, 9, augment), epoch(split, 4, augment, seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    # The products of mixup and of resizing may be summed in another order.
    assert torch.allclose(first[0], again[0], atol=1e-5)
    assert torch.allclose(first[1].float(), again[1].float())
    assert first[0].shape == (23, 3, 12, 12)
    assert not torch.equal(first[0], other_seed[0])


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_transform_changes_images_but_not_their_order(recipe: str) -> None:
    split = numbered()
    plain, labels = epoch(split, 5, "none")
    images, given = epoch(split, 5, parsed(RECIPES[recipe]))
    assert not torch.equal(images, plain)
    if given.ndim == 1:
        assert torch.equal(given, labels)


def test_each_transform_has_its_own_stream() -> None:
    """Removing a later transform leaves the earlier ones as they are."""
    split = numbered()
    rotation = {"name": "rotation", "degrees": 20}
    pair = draw_pipeline(23, parsed([rotation, "flip"]), (12, 12), seed=0, index=(0,))
    alone = draw_pipeline(23, parsed([rotation]), (12, 12), seed=0, index=(0,))
    rows = slice(0, 23)
    assert torch.equal(pair.steps[0].apply(split.images, rows), alone.steps[0].apply(split.images, rows))


def test_edge_padding_repeats_the_edge() -> None:
    split = numbered()
    augment = parsed([{"name": "pad", "padding": 2, "mode": "edge"}, "crop"])
    pipeline = draw_pipeline(23, augment, (12, 12), seed=0, index=(0,))
    framed = torch.nn.functional.pad(split.images.float(), (2,) * 4, mode="replicate").to(torch.uint8)
    assert torch.equal(pipeline.steps[0].apply(split.images, slice(0, 23)), framed)
    corners = pipeline.steps[1].draws
    assert corners is not None
    for place, (top, left) in enumerate(corners.tolist()):
        expected = framed[place, :, top : top + 12, left : left + 12]
        assert torch.equal(pipeline.apply(split.images, slice(0, 23))[place], expected)


def test_pad_and_center_crop_leave_images_as_they_are() -> None:
    split, augment = numbered(), parsed([{"name": "pad", "padding": 3}, "center-crop"])
    assert torch.equal(epoch(split, 5, augment)[0], epoch(split, 5, "none")[0])


@pytest.mark.parametrize("per", ["image", "batch"])
def test_mixtures_are_of_images_and_labels_alike(per: str) -> None:
    split = numbered()
    plain = split.normalised().flatten(1)
    for images, targets in split.epoch(6, seed=0, epoch=0, augment=parsed({"name": "mixup", "alpha": 1, "per": per})):
        assert targets.shape == (len(images), 23)
        assert targets.dtype == torch.float32
        assert torch.allclose(targets.sum(1), torch.ones(len(images)))
        # Labels are positions: the shares say which images were mixed, and how.
        assert torch.allclose(images.flatten(1), targets @ plain, atol=1e-5)
        assert ((targets > 0).sum(1) <= 2).all()


def test_mixup_per_batch_shares_one_weight_and_stays_in_the_batch() -> None:
    split = numbered()
    augment = parsed([{"name": "mixup", "alpha": 1, "per": "batch"}])
    hard = [labels for _, labels in split.epoch(6, seed=0, epoch=0)]
    for own, (_, targets) in zip(hard, split.epoch(6, seed=0, epoch=0, augment=augment), strict=True):
        assert set(targets.sum(0).nonzero().squeeze(1).tolist()) == set(own.tolist())
        weights = targets[torch.arange(len(own)), own]
        unmixed = weights > 0.9999
        assert (weights[~unmixed] - weights[~unmixed][:1]).abs().max() < 1e-6


def test_mixed_images_are_the_augmented_ones() -> None:
    split = numbered()
    flipped, _ = epoch(split, 5, parsed(["flip", {"name": "rotation", "degrees": 9}]))
    order = epoch(split, 5, "none")[1]
    mixed, targets = epoch(
        split, 5, parsed(["flip", {"name": "rotation", "degrees": 9}, {"name": "mixup", "alpha": 1}])
    )
    by_label = torch.empty_like(flipped)
    by_label[order] = flipped
    assert torch.allclose(mixed.flatten(1), targets @ by_label.flatten(1), atol=1e-5)


@pytest.mark.parametrize("per", ["image", "batch"])
def test_several_labels_per_image_are_mixed_label_by_label(per: str) -> None:
    # A published script mixes such labels by adding two losses, so that each label that is absent counts twice.
    augment = parsed({"name": "mixup", "alpha": 1, "per": per})
    several = torch.rand(23, 4, generator=torch.Generator().manual_seed(3)).round()
    split = numbered()
    images, shares = next(split.epoch(9, seed=0, epoch=0, augment=augment))
    for classes in (4, None):
        labelled = replace(split, labels=several, classes=classes)
        same, targets = next(labelled.epoch(9, seed=0, epoch=0, augment=augment))
        assert torch.equal(same, images)
        torch.testing.assert_close(targets, shares @ several)


def test_samples_are_mixed_too() -> None:
    split = numbered()
    images, targets = split.sample(7, seed=0, index=("a",), augment=parsed({"name": "mixup", "alpha": 1}))
    assert targets.shape == (7, 23)
    hard = split.sample(7, seed=0, index=("a",))[1]
    assert set(targets.sum(0).nonzero().squeeze(1).tolist()) == set(hard.tolist())
    assert torch.allclose(images.flatten(1), targets @ split.normalised().flatten(1), atol=1e-5)


def test_own_functions_get_images_numbers_and_arguments() -> None:
    split = numbered()
    augment = parsed({"name": "my_transforms.darker", "most": 0.25})
    images, _ = epoch(split, 23, augment)
    plain, _ = epoch(split, 23, "none")
    before, after = plain * 0.3 + 0.4, images * 0.3 + 0.4
    assert (after <= before + 1e-6).all()
    assert (after >= before * 0.75 - 2 / 255).all()


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("my_transforms.broken", "failed with the arguments"),
        ("my_transforms.floats", r"should return images like those it gets.*float32"),
        ("my_transforms.absent", "cannot be imported"),
        ({"name": "my_transforms.darker", "moist": 1}, "takes no argument 'moist'. Did you mean 'most'"),
    ],
)
def test_faults_of_own_functions_are_named(augment: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        epoch(numbered(), 5, parsed(augment))


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        ([], "none"),
        (["flip"], "flip"),
        ({"name": "pad-crop", "padding": 4}, "pad-crop"),
        (["pad-crop", {"name": "flip", "probability": 0.5}], "pad-crop-flip"),
    ],
)
def test_lists_that_have_a_name_are_the_same_setting(listed: Any, name: str) -> None:
    settings = DataSettings(name="mnist", augment=listed)
    assert settings == DataSettings(name="mnist", augment=name)
    assert essential(settings) == {"name": "mnist"} | ({} if name == "none" else {"augment": name})


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("flp", "Did you mean 'flip'"),
        (["pad"], "must follow"),
        (["crop"], "needs padded images"),
        ([{"name": "mixup", "alpha": 1}, "flip"], "must be the last"),
        ([{"name": "mixup", "alpha": 0}], "greater than 0"),
        ([{"name": "rotation", "degrees": 190}], "less than or equal to 180"),
        ([{"name": "random-resized-crop", "scale": [1, 0.1]}], "smaller bound first"),
        ([{"name": "affine", "fill": 256}], "less than or equal to 255"),
        ([3], "expected the name of a transform"),
    ],
)
def test_wrong_augmentations_are_refused(augment: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataSettings(name="mnist", augment=augment)


@pytest.mark.parametrize("recipe", ["imagenet-like", "rotated", "affine"])
def test_a_device_without_float64_sees_the_same_augmentation(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    split, augment = numbered(size=32), parsed(RECIPES[recipe])
    exact = epoch(split, 5, augment)[0]
    for module in ("pipeline", "geometry"):
        monkeypatch.setattr(f"weightscape.data.{module}.precise_dtype", lambda device: torch.float32)
    steps = draw_pipeline(23, augment, (32, 32), seed=1, index=(0,)).steps
    assert all(step.draws is None or step.draws.dtype != torch.float64 for step in steps)
    levels = ((epoch(split, 5, augment)[0] - exact).abs() * 0.3 * 255).round()
    assert (levels > 0).float().mean() < 0.01  # where a mean lies between two levels
    assert recipe == "rotated" or levels.max() <= 1  # a place between two pixels falls to one of them


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "own"])
def test_every_device_sees_the_same_augmentation(recipe: str) -> None:
    split, augment = numbered(), parsed(RECIPES[recipe])
    here, there = epoch(split, 5, augment), epoch(split.to("cuda"), 5, augment)
    assert torch.allclose(here[1].float(), there[1].cpu().float())
    # One level of 255, divided by the standard deviation.
    assert (here[0] - there[0].cpu()).abs().max() < 1.01 / 255 / 0.3
