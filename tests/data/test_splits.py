"""Training, validation and test: disjoint, stratified, nested, and the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightscape.data.digits import test_rows as rows_of_test_set
from weightscape.data.entries import Entry
from weightscape.data.loading import load_data, resized
from weightscape.data.specification import DataSettings
from weightscape.data.subsets import rounded_share, training_and_validation
from weightscape.errors import DataError

from .conftest import write_idx


def digits(**options: object) -> DataSettings:
    return DataSettings.model_validate({"name": "digits", **options})


def rows(data_split: object) -> set[int]:
    return set(data_split.indices.tolist())  # type: ignore[attr-defined]


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(4, 60), min_size=2, max_size=5),
    validation=st.floats(0.2, 0.6),
    fraction=st.floats(0.4, 1.0),
    seed=st.integers(0, 1000),
)
def test_cut_is_a_stratified_partition(counts: list[int], validation: float, fraction: float, seed: int) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    classes = range(len(counts))
    training, held_out = training_and_validation(labels, classes, validation=validation, fraction=1.0, seed=seed)
    assert sorted(training.tolist() + held_out.tolist()) == list(range(len(labels)))
    for label, count in enumerate(counts):
        assert abs(int((labels[held_out] == label).sum()) - validation * count) <= 0.5 + 1e-9
    fewer, same = training_and_validation(labels, classes, validation=validation, fraction=fraction, seed=seed)
    assert torch.equal(same, held_out)
    assert set(fewer.tolist()) <= set(training.tolist())
    for label in classes:
        whole, part = (int((labels[chosen] == label).sum()) for chosen in (training, fewer))
        assert abs(part - fraction * whole) <= 0.5 + 1e-9


def test_smaller_fractions_are_part_of_larger_ones() -> None:
    parts = [rows(load_data(digits(fraction=share)).train) for share in (0.1, 0.35, 0.7, 1.0)]
    assert parts[0] < parts[1] < parts[2] < parts[3]


def test_a_class_subset_is_cut_like_the_whole() -> None:
    whole, part = load_data("digits"), load_data(digits(classes=(7, 1)))
    for name in ("train", "validation", "test"):
        full, few = getattr(whole, name), getattr(part, name)
        assert rows(few) == {
            row for row, label in zip(full.indices.tolist(), full.labels.tolist(), strict=True) if label in {7, 1}
        }
    assert part.classes == ("7", "1")
    by_row = dict(zip(whole.train.indices.tolist(), whole.train.labels.tolist(), strict=True))
    renamed = [(7, 1)[label] for label in part.train.labels.tolist()]
    assert renamed == [by_row[row] for row in part.train.indices.tolist()]


def test_classes_are_cut_independently() -> None:
    labels = torch.arange(200) % 2
    _, held_out = training_and_validation(labels, (0, 1), validation=0.5, fraction=1.0, seed=0)
    places = [set((held_out[labels[held_out] == label] // 2).tolist()) for label in (0, 1)]
    # Of 50 places out of 100 chosen twice, 25 are common by chance, with a standard deviation of 2.5.
    assert 12 < len(places[0] & places[1]) < 38


def test_splits_are_disjoint_repeatable_and_seeded() -> None:
    first, again, other = load_data("digits"), load_data("digits"), load_data(digits(split_seed=778))
    assert not rows(first.train) & rows(first.validation)
    assert not (rows(first.train) | rows(first.validation)) & rows(first.test)
    assert len(rows(first.train) | rows(first.validation) | rows(first.test)) == 1797
    for name, indices in first.indices().items():
        assert torch.equal(indices, again.indices()[name])
    assert rows(first.validation) != rows(other.validation)
    assert rows(first.test) == rows(other.test)


def test_saved_indices_find_the_images_again() -> None:
    from sklearn.datasets import load_digits

    oracle = load_digits()
    data = load_data("digits")
    for split in (data.train, data.validation, data.test):
        original = torch.from_numpy(oracle.images)[split.indices]
        # Sixteen grey levels stretched over 255: what comes back differs by less than half a step of 1/255.
        assert torch.allclose(split.images[:, 0] / 255, original.float() / 16, atol=0.51 / 255)
        assert split.labels.tolist() == oracle.target[split.indices].tolist()
    frame = data.to_frame()
    assert frame["split"].value_counts().to_dict() == {"train": 1297, "validation": 145, "test": 355}
    assert frame["row"].is_unique


def test_normalisation_of_digits_is_that_of_its_training_images() -> None:
    from sklearn.datasets import load_digits

    oracle = load_digits()
    training = oracle.images[~rows_of_test_set(torch.from_numpy(oracle.target).long()).numpy()] / 16
    data = load_data("digits")
    assert len(training) == 1442
    assert data.train.mean.item() == pytest.approx(training.mean(), abs=1e-4)
    assert data.train.std.item() == pytest.approx(training.std(), abs=2e-4)


def test_every_class_is_in_the_test_set_of_digits_although_the_file_repeats_them() -> None:
    counts = torch.bincount(load_data("digits").test.labels, minlength=10)
    assert counts.min() >= 34
    assert counts.max() <= 36


@pytest.mark.parametrize(("share", "count", "expected"), [(0.1, 6265, 627), (0.1, 5, 1), (0.3, 5, 2), (0.1, 4, 0)])
def test_halves_are_rounded_up_whatever_the_binary_form_of_the_share(share: float, count: int, expected: int) -> None:
    assert rounded_share(share, count) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0.002}, "Class 0 has no training image left.*fraction 0.002 keeps none"),
        ({"validation": 0.001}, "No validation image is left"),
        ({"validation": 0.999}, "Class 0 has no training image left"),
    ],
)
def test_cuts_that_leave_nothing_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_data(digits(**options))


def test_a_class_that_the_file_lacks_is_refused() -> None:
    with pytest.raises(DataError, match=r"No training image is of class 2\. .*labels up to 2, each at least once"):
        training_and_validation(torch.tensor([0, 1] * 20), (0, 1, 2), validation=0.1, fraction=1.0, seed=0)


def test_data_sets_share_no_memory(small_catalogue: dict[str, Entry], tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", compress=False)
    first = load_data("mnist", root=tmp_path)
    kept = first.test.images.clone()
    for split in (first.train, first.validation, first.test):
        split.images.zero_()
        split.labels.zero_()
    assert torch.equal(load_data("mnist", root=tmp_path).test.images, kept)


def test_a_changed_file_is_read_again(small_catalogue: dict[str, Entry], tmp_path: Path) -> None:
    import os

    write_idx(tmp_path / "mnist", compress=False)
    first = load_data("mnist", root=tmp_path)
    write_idx(tmp_path / "mnist", compress=False, seed=1)
    for path in (tmp_path / "mnist").iterdir():
        os.utime(path, ns=(0, 12345))
    assert not torch.equal(first.test.images, load_data("mnist", root=tmp_path).test.images)


@pytest.mark.parametrize("size", [8, 9, 28, 32])
def test_enlarging_agrees_with_pillow_on_every_pixel(size: int) -> None:
    import numpy as np
    from PIL import Image

    images = load_data("digits").test.images[:20]
    larger = resized(images, size, chunk=7)
    assert larger.shape == (20, 1, size, size)
    for image, big in zip(images, larger, strict=True):
        oracle = Image.fromarray(image[0].numpy()).resize((size, size), Image.Resampling.BILINEAR)
        # Pillow computes with fixed point numbers.
        assert np.abs(np.asarray(oracle).astype(int) - big[0].numpy().astype(int)).max() <= 1


def test_enlarging_keeps_a_constant_and_the_brightness() -> None:
    constant = torch.full((3, 1, 8, 8), 77, dtype=torch.uint8)
    assert torch.equal(resized(constant, 31), torch.full((3, 1, 31, 31), 77, dtype=torch.uint8))
    data = load_data(digits(size=32))
    assert data.shape == (1, 32, 32)
    small, large = (settings.train.images.float().mean().item() for settings in (load_data("digits"), data))
    assert large == pytest.approx(small, rel=0.01)
