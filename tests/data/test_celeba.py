"""CelebA: forty labels per image, images in a folder, decoded onto the disk, seen as the published code saw them."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from weightscape.data import cache, listed_images
from weightscape.data.catalogue import describe, fingerprint, shape_and_classes, summary
from weightscape.data.dataset import Dataset
from weightscape.data.downloads import prepare
from weightscape.data.loading import load_data
from weightscape.data.preparation import prepare_and_verify
from weightscape.data.sheet import sheet
from weightscape.data.specification import DataSettings
from weightscape.data.transforms import Augmentation
from weightscape.errors import DataError
from weightscape.training.evaluation import evaluate

from .faces import TEST, TRAIN, Faces, write_lists, write_tables

PUBLISHED = ["crop", {"name": "pad", "padding": 10, "mode": "edge"}, {"name": "rotation", "degrees": 10}, "center-crop"]
SMALL, BORDER = 28, 2


@pytest.fixture
def faces() -> Faces:
    return Faces()


@pytest.fixture
def root(tmp_path: Path, faces: Faces) -> Path:
    write_tables(tmp_path / "data" / "celeba", faces)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEIGHTSCAPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def small(root: Path, **settings: object) -> Dataset:
    return load_data(DataSettings.model_validate({"name": "celeba", "size": SMALL, **settings}), root=root)


def expected_pixels(content: bytes, side: int) -> torch.Tensor:
    picture = Image.open(io.BytesIO(content)).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())


def test_shape_and_number_of_labels_need_no_files(tmp_path: Path) -> None:
    assert shape_and_classes("celeba", tmp_path) == ((3, 224, 224), 40)
    assert shape_and_classes(DataSettings(name="celeba", size=64, classes=(20, 31)), tmp_path) == ((3, 64, 64), 2)


def test_an_image_has_a_one_or_a_zero_for_each_attribute_of_its_row(root: Path, faces: Faces) -> None:
    data = small(root)
    expected = torch.from_numpy((faces.attributes == 1).astype(np.float32))
    for split, part in ((data.train, "train"), (data.validation, "train"), (data.test, "test")):
        assert torch.equal(split.labels, expected[faces.rows(part)][split.indices])
    both = torch.cat([data.train.indices, data.validation.indices])
    assert both.sort().values.tolist() == list(range(TRAIN))
    assert len(data.test) == TEST
    assert not data.lossy


def test_chosen_classes_are_attributes_of_all_images(root: Path) -> None:
    whole, part = small(root), small(root, classes=(31, 20))
    assert part.classes == ("Smiling", "Male")
    assert torch.equal(part.train.labels, whole.train.labels[:, [31, 20]])
    assert torch.equal(part.train.images, whole.train.images)


@pytest.mark.parametrize("nested", [False, True])
def test_official_lists_hold_the_same_content_as_tables(root: Path, tmp_path: Path, faces: Faces, nested: bool) -> None:
    write_lists(tmp_path / "official" / "celeba", faces, nested=nested)
    ours, theirs = small(root), small(tmp_path / "official")
    assert fingerprint("celeba", root) == fingerprint("celeba", tmp_path / "official")
    for name in ("train", "validation", "test"):
        left, right = getattr(ours, name), getattr(theirs, name)
        assert torch.equal(left.images, right.images)
        assert torch.equal(left.labels, right.labels)


def test_networks_see_the_centre_of_the_resized_picture_less_117(root: Path, faces: Faces) -> None:
    data = load_data("celeba", root=root)
    whole = expected_pixels(faces.files[faces.rows("test")[3]], 256)
    assert data.shape == (3, 224, 224)
    seen = data.test.normalised(slice(3, 4))[0]
    torch.testing.assert_close(seen, whole[:, 16:240, 16:240].float() - 117, rtol=0, atol=1e-4)
    images, _ = next(data.test.batches(4))
    assert torch.equal(images[3], seen)
    assert torch.equal(next(data.test.epoch(TEST, seed=0, epoch=0))[0].sum(0), data.test.normalised().sum(0))


def test_a_crop_takes_any_window_of_the_border_alike(root: Path) -> None:
    data = small(root, augment=["crop"])
    assert data.train.images.shape[2] == SMALL + 2 * BORDER
    windows = data.train.images.unfold(2, SMALL, 1).unfold(3, SMALL, 1)  # (n, 3, 5, 5, 28, 28)
    seen: set[tuple[int, int]] = set()
    for epoch in range(6):
        order = torch.cat([labels for _, labels in data.train.epoch(7, seed=1, epoch=epoch)])
        images = torch.cat(
            [image for image, _ in data.train.epoch(7, seed=1, epoch=epoch, augment=data.settings.augment)]
        )
        for image, labels in zip(images, order, strict=True):
            row = int((data.train.labels == labels).all(1).nonzero())
            level = (image + 117).round().to(torch.uint8)
            places = (windows[row] == level[:, None, None]).flatten(3).all(3).all(0).nonzero()
            assert len(places)
            seen.add(tuple(places[0].tolist()))
    assert len(seen) == (2 * BORDER + 1) ** 2


def test_the_published_augmentation_yields_what_networks_see(root: Path) -> None:
    data = load_data(DataSettings.model_validate({"name": "celeba", "augment": PUBLISHED}), root=root)
    first, again, later = (
        torch.cat([image for image, _ in data.train.epoch(batch, seed=0, epoch=epoch, augment=data.settings.augment)])
        for batch, epoch in ((16, 0), (5, 0), (16, 1))
    )
    assert first.shape[1:] == (3, 224, 224)
    torch.testing.assert_close(first, again)
    assert not torch.equal(first, later)


def test_padding_that_is_cut_away_again_leaves_the_crop(root: Path) -> None:
    data = small(root, augment=["crop", {"name": "pad", "padding": 10, "mode": "edge"}, "center-crop"])
    pairs = zip(
        data.train.epoch(8, seed=0, epoch=0, augment=data.settings.augment),
        data.train.epoch(8, seed=0, epoch=0, augment=small(root, augment=["crop"]).settings.augment),
        strict=True,
    )
    assert all(torch.equal(left[0], right[0]) for left, right in pairs)


@pytest.mark.parametrize("augment", ["flip", "pad-crop-flip", ["random-resized-crop"], [{"name": "pad"}, "crop"]])
def test_other_augmentations_start_from_what_networks_see(root: Path, augment: object) -> None:
    data = small(root, augment=augment)
    images, _ = next(data.train.epoch(8, seed=0, epoch=0, augment=data.settings.augment))
    assert images.shape[1:] == data.shape


def test_a_crop_without_padding_is_refused_where_images_have_no_border() -> None:
    for settings in ({"name": "cifar10", "augment": ["crop"]}, {"name": "celeba", "augment": ["crop", "center-crop"]}):
        with pytest.raises(ValidationError, match="needs padded images"):
            DataSettings.model_validate(settings)
    with pytest.raises(ValidationError, match="needs padded images"):
        TypeAdapter(Augmentation).validate_python(["crop"])


def test_images_are_decoded_once_and_mapped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = small(root)
    kept = first.train.images.clone()
    monkeypatch.setattr(listed_images, "_pixels", lambda *_: pytest.fail("decoded again"))
    second = small(root)
    second.train.images.zero_()
    assert torch.equal(small(root, classes=(1, 2)).train.images, kept)


def test_another_cut_decodes_its_training_images_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path
) -> None:
    whole, decoded = small(root), []
    real = listed_images._pixels
    monkeypatch.setattr(listed_images, "_pixels", lambda path, side: decoded.append(path) or real(path, side))
    part = small(root, fraction=0.25)
    assert len(decoded) == len(part.train) + len(part.validation) < TRAIN
    rows = torch.isin(whole.train.indices, part.train.indices)
    assert torch.equal(whole.train.images[rows], part.train.images)


def test_without_a_cache_images_are_decoded_into_memory_if_they_fit(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = small(root)
    monkeypatch.setenv("WEIGHTSCAPE_CACHE", "off")
    assert torch.equal(small(root).train.images, mapped.train.images)
    monkeypatch.setattr(listed_images, "_free_memory", lambda: 1000)
    with pytest.raises(DataError, match="Let WEIGHTSCAPE_CACHE name a folder"):
        small(root)


def test_a_full_disk_is_noticed_before_anything_is_decoded(
    root: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert len(small(root).train)
    assert not any(path.is_dir() for path in cache_folder.iterdir())


def test_a_copy_that_cannot_be_mapped_is_not_thrown_away(
    root: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path
) -> None:
    def refused(path: Path) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    small(root)
    kept = sorted(cache_folder.iterdir())
    monkeypatch.setattr(cache, "_mapped", refused)
    assert len(small(root).train)
    assert sorted(cache_folder.iterdir()) == kept


def test_a_changed_image_is_another_data_set(root: Path, faces: Faces) -> None:
    before, images = fingerprint("celeba", root), small(root).test.images.clone()
    victim = root / "celeba" / "images" / faces.names()[faces.rows("test")[0]]
    victim.write_bytes(Faces(seed=5).files[0])
    assert fingerprint("celeba", root) != before
    assert not torch.equal(small(root).test.images, images)


def test_missing_and_damaged_images_are_named(root: Path, faces: Faces) -> None:
    victim = root / "celeba" / "images" / faces.names()[4]
    victim.write_bytes(faces.files[4][:500])
    with pytest.raises(DataError, match=f"{victim.name} is no complete image"):
        small(root)
    victim.unlink()
    with pytest.raises(
        DataError, match=f"1 of {TRAIN} train images of CelebA are missing, the first is .*{victim.name}"
    ):
        small(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("Smiling", "Smile"), "without Smiling"),
        (lambda text: text.replace(",img,", ",image,"), "without img"),
        (lambda text: text.replace(",1,", ",0,", 1), r"expected -1 or 1, received 0 for \w+ of images/"),
        (lambda text: text.partition("\n")[0] + "\n", "lists no image"),
        (lambda text: "", "is no complete table"),
    ],
)
def test_damaged_tables_say_what_is_wrong(root: Path, change: Callable[[str], str], message: str) -> None:
    table = root / "celeba" / "train.csv"
    table.write_text(change(table.read_text()))
    with pytest.raises(DataError, match=message):
        small(root)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("list_attr_celeba.txt", lambda text: text.rpartition("000035.jpg")[0], "do not belong together"),
        ("list_attr_celeba.txt", lambda text: text.replace("35\n", "36\n", 1), "announces 36 images and has 35"),
        ("list_eval_partition.txt", lambda text: text.replace("000002", "000077"), "do not belong together"),
    ],
)
def test_lists_that_disagree_are_refused(
    tmp_path: Path, faces: Faces, file: str, change: Callable[[str], str], message: str
) -> None:
    write_lists(tmp_path / "celeba", faces)
    path = tmp_path / "celeba" / file
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message):
        small(tmp_path)


def test_what_is_missing_is_said_without_an_offer_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train.csv, test.csv; or list_attr_celeba.txt") as caught:
        prepare("celeba", tmp_path)
    assert "data prepare" not in str(caught.value)
    assert not (tmp_path / "celeba").exists()


def test_prepare_decodes_what_load_maps(root: Path, monkeypatch: pytest.MonkeyPatch, faces: Faces) -> None:
    found = prepare_and_verify("celeba", root)
    assert (found.train_size, found.test_size, found.packaging) == (TRAIN, TEST, "celeba-csv")
    assert found.decoded is not None
    monkeypatch.setattr(listed_images, "_pixels", lambda *_: pytest.fail("decoded again"))
    load_data("celeba", root=root)
    assert summary("celeba", root).present


def test_accuracy_is_the_mean_over_attributes(root: Path) -> None:
    data = small(root)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SMALL * SMALL, 40))
    found = evaluate(model, data.test)
    logits = model(data.test.normalised())
    right = (torch.sigmoid(logits) > 0.5) == (data.test.labels == 1)
    assert found.accuracy == pytest.approx(float(right.float().mean()))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, data.test.labels)
    assert found.loss == pytest.approx(loss.item(), rel=1e-4)


def test_a_sheet_has_a_row_per_attribute_and_a_frame_a_column(root: Path) -> None:
    data = small(root)
    picture = sheet(data, per_class=2)
    assert picture.shape == (3, 40 * (SMALL + 1) + 1, 2 * (SMALL + 1) + 1)
    first = int((data.train.labels[:, 0] == 1).nonzero()[0])
    assert torch.equal(picture[:, 1 : 1 + SMALL, 1 : 1 + SMALL], data.train.seen(slice(first, first + 1))[0])
    frame = data.to_frame()
    assert list(frame.columns) == ["split", "row", *describe("celeba").classes]
    assert len(frame) == TRAIN + TEST
