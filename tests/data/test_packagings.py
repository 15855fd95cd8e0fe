"""The same images in every packaging: equal pixels, labels and fingerprints; damaged files are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from weightscape.data.catalogue import fingerprint, summary
from weightscape.data.entries import ENTRIES, Entry
from weightscape.data.loading import load_data
from weightscape.data.specification import DataSettings
from weightscape.errors import DataError

from .packagings import WRITERS, Content, pickled, write_cifar10_python, write_stl10, write_svhn

PACKAGINGS = [(name, reader) for name, readers in WRITERS.items() for reader in readers]
CLASSES = {"cifar10": 10, "cifar100": 20, "svhn": 10}
pytestmark = pytest.mark.usefixtures("small_catalogue")


def write(root: Path, name: str, reader: str, content: Content) -> Path:
    folder, writer = WRITERS[name][reader]
    writer(root / folder, content)
    return root / folder


@pytest.mark.parametrize(("name", "reader"), PACKAGINGS)
def test_images_and_labels_come_as_written(tmp_path: Path, name: str, reader: str) -> None:
    content = Content(classes=CLASSES[name])
    write(tmp_path, name, reader, content)
    data = load_data(DataSettings(name=name, classes=tuple(range(CLASSES[name]))), root=tmp_path)
    for split, part in ((data.train, "train"), (data.validation, "train"), (data.test, "test")):
        rows = split.indices.numpy()
        assert np.array_equal(split.images.numpy(), content.images[part].transpose(0, 3, 1, 2)[rows])
        assert np.array_equal(split.labels.numpy(), content.labels[part][rows])
    assert summary(name, tmp_path).packaging == reader


@pytest.mark.parametrize("name", WRITERS)
def test_every_lossless_packaging_has_one_fingerprint(tmp_path: Path, name: str) -> None:
    content = Content(classes=CLASSES[name])
    found = set()
    for reader in WRITERS[name]:
        write(tmp_path / reader, name, reader, content)
        found.add(fingerprint(name, tmp_path / reader))
    assert len(found) == 1
    other = Content(classes=CLASSES[name])
    other.images["test"][7, 3, 4, 1] ^= 1
    for reader in WRITERS[name]:
        write(tmp_path / f"other {reader}", name, reader, other)
        found.add(fingerprint(name, tmp_path / f"other {reader}"))
    assert len(found) == 2


@pytest.mark.parametrize("reader", WRITERS["cifar100"])
def test_coarse_labels_come_from_the_same_files(tmp_path: Path, reader: str) -> None:
    content = Content(classes=20)
    write(tmp_path, "cifar100", reader, content)
    fine = load_data(DataSettings(name="cifar100", classes=tuple(range(20))), root=tmp_path)
    coarse = load_data("cifar100_coarse", root=tmp_path)
    assert len(coarse.classes) == 20
    assert np.array_equal(coarse.test.labels.numpy(), content.coarse["test"])
    assert torch.equal(coarse.test.images, fine.test.images)
    assert fingerprint("cifar100_coarse", tmp_path) != fingerprint("cifar100", tmp_path)


@pytest.mark.parametrize(
    ("protocol", "text"), [(2, bytes), (2, str), (3, bytes), (4, str), (5, bytes), (0, str), (1, str)]
)
def test_pickles_of_every_protocol_are_read(tmp_path: Path, protocol: int, text: type) -> None:
    content = Content()
    write_cifar10_python(tmp_path / "cifar10", content, protocol=protocol, text=text)
    data = load_data("cifar10", root=tmp_path)
    assert np.array_equal(data.test.images.numpy(), content.images["test"].transpose(0, 3, 1, 2))


def test_stl10_is_read_column_by_column_and_labels_count_from_one(tmp_path: Path) -> None:
    content = Content(side=96)
    write_stl10(tmp_path / "stl10_binary", content)
    data = load_data("stl10", root=tmp_path)
    assert data.shape == (3, 96, 96)
    assert np.array_equal(data.test.images.numpy(), content.images["test"].transpose(0, 3, 1, 2))
    assert np.array_equal(data.test.labels.numpy(), content.labels["test"])


def test_svhn_writes_zero_as_ten(tmp_path: Path) -> None:
    content = Content()
    write_svhn(tmp_path / "SVHN", content)
    data = load_data("svhn", root=tmp_path)
    assert np.array_equal(data.test.labels.numpy(), content.labels["test"])
    assert data.classes[0] == "0"


def test_the_packaging_named_first_is_taken(tmp_path: Path) -> None:
    for seed, reader in enumerate(WRITERS["cifar10"]):
        write(tmp_path, "cifar10", reader, Content(seed=seed))
    alone = tmp_path / "alone"
    write(alone, "cifar10", "parquet", Content(seed=0))
    assert fingerprint("cifar10", tmp_path) == fingerprint("cifar10", alone)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_a_page(path: Path) -> None:
    path.write_bytes(b"<html>moved</html>")


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def pickle_without_labels(path: Path) -> None:
    path.write_bytes(pickled({"data": np.zeros((40, 3072), np.uint8)}))


def pickle_of_other_images(path: Path) -> None:
    path.write_bytes(pickled({"data": np.zeros((40, 784), np.uint8), "labels": [0] * 40}))


def pickle_of_floats(path: Path) -> None:
    path.write_bytes(pickled({"data": np.zeros((40, 3072), np.float32), "labels": [0] * 40}))


def pickle_of_labels_as_text(path: Path) -> None:
    path.write_bytes(pickled({"data": np.zeros((40, 3072), np.uint8), "labels": ["a"] * 40}))


def pickle_of_a_list(path: Path) -> None:
    path.write_bytes(b"\x80\x02].")


BINARY, PYTHON = "data_batch_3.bin", "data_batch_3"
DAMAGES: list[tuple[str, str, str, Callable[[Path], None], str]] = [
    ("cifar10", "cifar-binary", BINARY, truncate, "truncated or no CIFAR file"),
    ("cifar10", "cifar-binary", BINARY, empty, "truncated"),
    ("cifar10", "cifar-binary", BINARY, replace_by_a_page, "records of 3073 bytes"),
    ("cifar100", "cifar-binary", "train.bin", truncate, "records of 3074 bytes"),
    ("cifar10", "cifar-python", PYTHON, truncate, "damaged or truncated"),
    ("cifar10", "cifar-python", PYTHON, empty, "damaged or truncated"),
    ("cifar10", "cifar-python", PYTHON, replace_by_a_page, "damaged or truncated"),
    ("cifar10", "cifar-python", PYTHON, pickle_without_labels, "expected a dictionary with 'labels'"),
    ("cifar10", "cifar-python", PYTHON, pickle_of_other_images, r"n x 3072 bytes, received \(40, 784\)"),
    ("cifar10", "cifar-python", PYTHON, pickle_of_floats, "an array of type b?'f4'"),
    ("cifar10", "cifar-python", PYTHON, pickle_of_labels_as_text, "labels as a list of integers"),
    ("cifar10", "cifar-python", PYTHON, pickle_of_a_list, "expected a dictionary with 'data', received list"),
    ("svhn", "svhn-mat", "train_32x32.mat", truncate, "no complete MATLAB file"),
    ("svhn", "svhn-mat", "train_32x32.mat", empty, "no complete MATLAB file"),
    ("svhn", "svhn-mat", "train_32x32.mat", replace_by_a_page, "no complete MATLAB file"),
    ("svhn", "svhn-mat", "train_32x32.mat", change_a_byte, "no complete MATLAB file"),
]


@pytest.mark.parametrize(("name", "reader", "file", "damage", "message"), DAMAGES)
def test_a_damaged_file_is_named(
    tmp_path: Path, name: str, reader: str, file: str, damage: Callable[[Path], None], message: str
) -> None:
    folder = write(tmp_path, name, reader, Content(classes=CLASSES[name]))
    damage(folder / file)
    for use in (lambda: load_data(name, root=tmp_path), lambda: fingerprint(name, tmp_path)):
        with pytest.raises(DataError, match=message) as caught:
            use()
        assert str(folder / file) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((32, 32, 3, 50))}, "expected X as bytes"),
        ({"X": np.zeros((32, 32, 50), np.uint8)}, "expected X as bytes"),
        ({"y": np.full((50, 1), 11, np.uint8)}, "labels from 1 to 10, received 11 to 11"),
        ({"y": np.full((50, 1), 1.5)}, "whole numbers"),
        ({"y": np.ones((7, 1), np.uint8)}, "7 labels"),
    ],
)
def test_wrong_variables_of_svhn_are_named(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    write_svhn(tmp_path / "svhn", Content(), **changes)
    with pytest.raises(DataError, match=message):
        load_data("svhn", root=tmp_path)


def test_svhn_labels_may_be_whole_floats_as_matlab_saves_them(tmp_path: Path) -> None:
    content = Content()
    write_svhn(tmp_path / "svhn", content)
    before = fingerprint("svhn", tmp_path)
    from scipy.io import loadmat, savemat

    for part in ("train", "test"):
        path = tmp_path / "svhn" / f"{part}_32x32.mat"
        held = loadmat(path)
        savemat(path, {"X": held["X"], "y": held["y"].astype(float)})
    assert fingerprint("svhn", tmp_path) == before


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [("train_X.bin", truncate, "truncated"), ("test_y.bin", empty, "is empty"), ("test_y.bin", truncate, "40 labels")],
)
def test_damaged_files_of_stl10_are_named(
    tmp_path: Path, file: str, damage: Callable[[Path], None], message: str
) -> None:
    write_stl10(tmp_path / "stl10", Content(side=96))
    damage(tmp_path / "stl10" / file)
    with pytest.raises(DataError, match=message) as caught:
        load_data("stl10", root=tmp_path)
    assert file in str(caught.value)


def test_a_label_beyond_the_classes_is_named(tmp_path: Path) -> None:
    content = Content()
    content.labels["test"][3] = 200
    folder = write(tmp_path, "cifar10", "cifar-binary", content)
    with pytest.raises(DataError, match=r"test_batch.bin: labels .* received 200 in row 3"):
        load_data("cifar10", root=tmp_path)
    assert folder.is_dir()


def test_published_digests_are_whole(small_catalogue: dict[str, Entry]) -> None:
    for entry in ENTRIES.values():
        for packaging in entry.packagings:
            assert all(len(digest) == 32 and int(digest, 16) >= 0 for digest in packaging.md5.values())
