"""Normalisation, order and augmentation of batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from weightscape.data.augmentation import PADDING, Draws, apply, draw
from weightscape.data.dataset import Split
from weightscape.data.loading import load_data
from weightscape.data.transforms import NamedAugmentation
from weightscape.errors import DataError

AUGMENTATIONS: tuple[NamedAugmentation, ...] = ("none", "flip", "pad-crop", "pad-crop-flip")


def numbered(count: int = 23, channels: int = 3, size: int = 8) -> Split:
    """Random images whose label is their position, so that a batch says which images it holds."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
    mean, std = torch.linspace(0.3, 0.5, channels), torch.linspace(0.2, 0.4, channels)
    return Split(images, torch.arange(count), torch.arange(count) + 100, mean, std)


def crop_one(image: Tensor, row: int, column: int, flip: bool) -> Tensor:
    """The definition, one image at a time."""
    channels, height, width = image.shape
    framed = torch.zeros(channels, height + 2 * PADDING, width + 2 * PADDING, dtype=image.dtype)
    framed[:, PADDING : PADDING + height, PADDING : PADDING + width] = image
    cropped = framed[:, row : row + height, column : column + width]
    return cropped.flip(2) if flip else cropped


def test_normalisation_is_the_textbook_formula() -> None:
    split = numbered()
    expected = (split.images.double() / 255 - split.mean.view(-1, 1, 1)) / split.std.view(-1, 1, 1)
    for index, rows in ((None, slice(None)), (slice(3, 9), slice(3, 9)), (torch.tensor([5, 0, 5]), [5, 0, 5])):
        received = split.normalised(index)
        assert received.dtype == torch.float32
        assert torch.allclose(received.double(), expected[rows], atol=1e-5)


def test_normalising_leaves_the_images_as_they_are() -> None:
    split = numbered()
    before = split.images.clone()
    split.normalised()
    for augment in AUGMENTATIONS:
        for images, _ in split.epoch(4, seed=0, epoch=0, augment=augment):
            images.zero_()
    for images, _ in split.batches(5):
        images.zero_()
    assert torch.equal(split.images, before)


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_batches_come_in_order_and_completely(batch_size: int) -> None:
    split = numbered()
    batches = list(split.batches(batch_size))
    assert torch.equal(torch.cat([labels for _, labels in batches]), split.labels)
    assert torch.equal(torch.cat([images for images, _ in batches]), split.normalised())


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_epoch_sees_every_image_once(augment: NamedAugmentation) -> None:
    labels = torch.cat([labels for _, labels in numbered().epoch(4, seed=1, epoch=2, augment=augment)])
    assert sorted(labels.tolist()) == list(range(23))


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_epoch_is_a_pure_function_of_seed_and_epoch(augment: NamedAugmentation) -> None:
    split = numbered()

    def epoch(batch_size: int, seed: int, number: int) -> tuple[Tensor, Tensor]:
        images, labels = zip(*split.epoch(batch_size, seed=seed, epoch=number, augment=augment), strict=True)
        return torch.cat(images), torch.cat(labels)

    state = torch.random.get_rng_state()
    first, again, other_size = epoch(4, 1, 2), epoch(4, 1, 2), epoch(7, 1, 2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[0], other_size[0])
    assert torch.equal(first[1], other_size[1])
    assert not torch.equal(first[1], epoch(4, 1, 3)[1])
    assert not torch.equal(first[1], epoch(4, 2, 2)[1])


def test_augmentation_does_not_change_the_order() -> None:
    split = numbered()
    orders = [
        torch.cat([labels for _, labels in split.epoch(4, seed=0, epoch=0, augment=augment)])
        for augment in AUGMENTATIONS
    ]
    assert all(torch.equal(order, orders[0]) for order in orders)


def test_unaugmented_epoch_is_a_permutation_of_the_normalised_images() -> None:
    split = numbered()
    everything = split.normalised()
    for images, labels in split.epoch(6, seed=0, epoch=0):
        assert torch.equal(images, everything[labels])


def test_sample_is_one_batch_without_repetition_named_by_its_index() -> None:
    split = numbered()
    images, labels = split.sample(10, seed=0, index=("pair", 3))
    assert len(set(labels.tolist())) == 10
    assert torch.equal(images, split.normalised(labels))
    assert torch.equal(labels, split.sample(10, seed=0, index=("pair", 3))[1])
    assert not torch.equal(labels, split.sample(10, seed=0, index=("pair", 4))[1])
    assert len(split.sample(100, seed=0, index=())[1]) == 23


def test_samples_are_uniform_over_the_images() -> None:
    split = numbered(10, 1, 2)
    counts = sum(torch.bincount(split.sample(2, seed=0, index=(t,))[1], minlength=10) for t in range(1000))
    # 2000 draws over 10 images: 200 expected, standard deviation below 14.
    assert counts.min() > 130
    assert counts.max() < 270


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 6),
    channels=st.sampled_from([1, 3]),
    size=st.integers(4, 12),
    augment=st.sampled_from(AUGMENTATIONS),
    seed=st.integers(0, 99),
)
def test_augmentation_of_a_batch_is_that_of_its_images(
    count: int, channels: int, size: int, augment: NamedAugmentation, seed: int
) -> None:
    images = numbered(count, channels, size).images
    draws = draw(count, augment, generator=torch.Generator().manual_seed(seed))
    received = apply(images, draws)
    for place, image in enumerate(images):
        row, column = (PADDING, PADDING) if draws.crop is None else draws.crop[place].tolist()
        flip = draws.flip is not None and bool(draws.flip[place])
        assert torch.equal(received[place], crop_one(image, row, column, flip))


def test_crops_and_flips_cover_all_places_evenly() -> None:
    draws = draw(20_000, "pad-crop-flip", generator=torch.Generator().manual_seed(0))
    assert draws.crop is not None
    assert draws.flip is not None
    counts = torch.bincount(draws.crop[:, 0] * 9 + draws.crop[:, 1], minlength=81)
    # 247 expected per place, standard deviation 16.
    assert counts.min() > 170
    assert counts.max() < 330
    assert draws.flip.float().mean() == pytest.approx(0.5, abs=0.02)


def test_padding_is_black_not_the_mean() -> None:
    white = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    corner = apply(white, Draws(crop=torch.tensor([[0, 0]]), flip=None))[0, 0]
    assert (corner[:4] == 0).all()
    assert (corner[4:, 4:] == 255).all()


def test_augmented_epoch_normalises_after_augmenting() -> None:
    split = numbered(200)
    black = (0 - split.mean) / split.std
    borders = torch.cat([images[:, :, 0, 0] for images, _ in split.epoch(50, seed=0, epoch=0, augment="pad-crop")])
    outside = torch.isclose(borders, black, atol=1e-6).all(1).float().mean()
    # The corner lies outside unless both offsets are at least 4: 1 - (5/9)^2 = 0.69.
    assert outside.item() == pytest.approx(0.69, abs=0.1)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_sizes_below_one_are_refused_at_once(batch_size: int) -> None:
    split = numbered()
    for use in (
        lambda: split.epoch(batch_size, seed=0, epoch=0),
        lambda: split.sample(batch_size, seed=0, index=()),
        lambda: next(split.batches(batch_size)),
    ):
        with pytest.raises(DataError, match="at least one image"):
            use()


def test_unequal_lengths_are_refused() -> None:
    split = numbered()
    with pytest.raises(DataError, match="one label and one index per image"):
        Split(split.images, split.labels[1:], split.indices, split.mean, split.std)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_every_device_sees_the_same_batches(augment: NamedAugmentation) -> None:
    data = load_data("digits")
    there = data.to("cuda")
    for here, far in zip(
        data.train.epoch(100, seed=0, epoch=0, augment=augment),
        there.train.epoch(100, seed=0, epoch=0, augment=augment),
        strict=True,
    ):
        assert torch.equal(here[1], far[1].cpu())
        assert torch.allclose(here[0], far[0].cpu(), atol=1e-6)
