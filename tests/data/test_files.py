"""Finding files, reading them, and naming the one that is missing or damaged."""

from __future__ import annotations

import dataclasses
import gzip
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightscape.data.catalogue import fingerprint
from weightscape.data.entries import FASHION_MNIST, MNIST, Entry
from weightscape.data.files import locate, read_content
from weightscape.data.fingerprinting import content_digest
from weightscape.data.idx import read_idx
from weightscape.data.loading import load_data
from weightscape.errors import DataError

from .conftest import TEST, TRAIN, colour_arrays, idx_bytes, write_idx, write_parquet

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.lists(st.integers(1, 6), min_size=1, max_size=3), compress=st.booleans())
def test_idx_round_trip(tmp_path: Path, shape: list[int], compress: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / ("array.gz" if compress else "array")
    path.write_bytes(gzip.compress(idx_bytes(array)) if compress else idx_bytes(array))
    assert torch.equal(read_idx(path, len(shape)), torch.from_numpy(array))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("place", ["mnist", "MNIST/raw", "."])
def test_images_come_as_written_from_every_folder_searched(
    small_catalogue: dict[str, Entry], tmp_path: Path, compress: bool, place: str
) -> None:
    arrays = write_idx(tmp_path / place, compress=compress)
    data = load_data("mnist", root=tmp_path)
    for split, prefix in ((data.train, "train"), (data.validation, "train"), (data.test, "t10k")):
        rows = split.indices.numpy()
        assert np.array_equal(split.images[:, 0].numpy(), arrays[f"{prefix}-images-idx3-ubyte"][rows])
        assert np.array_equal(split.labels.numpy(), arrays[f"{prefix}-labels-idx1-ubyte"][rows])


def test_missing_data_says_what_where_and_how(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_data("fashion_mnist", root=tmp_path)
    message = str(caught.value)
    for part in (
        IMAGES,
        "t10k-labels",
        str(tmp_path / "fashion_mnist"),
        "WEIGHTSCAPE_DATA",
        "--data-dir",
        "weightscape data prepare fashion_mnist",
        "dataset-fashion-mnist",
    ):
        assert part in message
    with pytest.raises(DataError, match=r"train\*.parquet"):
        fingerprint("cifar10", tmp_path)


def test_partly_missing_data_names_the_missing_file(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", compress=False)
    (tmp_path / "mnist" / LABELS).unlink()
    with pytest.raises(DataError, match=f"has some of them, but not {LABELS}"):
        fingerprint("mnist", tmp_path)


def test_files_are_not_mixed_from_two_folders(small_catalogue: dict[str, Entry], tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", compress=False)
    write_idx(tmp_path, compress=False, seed=1)
    (tmp_path / "mnist" / LABELS).unlink()
    alone = tmp_path / "alone"
    write_idx(alone / "mnist", compress=False, seed=1)
    assert fingerprint("mnist", tmp_path) == fingerprint("mnist", alone)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip_bytes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    content[-8] ^= 0xFF
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _page(path: Path) -> None:
    path.write_bytes(b"<html>moved</html>")


def _wrong_magic(path: Path) -> None:
    path.write_bytes(b"\0\0\x0d\x03" + path.read_bytes()[4:])


def _inside_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9])


def _too_long(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _other_shape(path: Path) -> None:
    path.write_bytes(idx_bytes(np.zeros((TRAIN, 20, 20), np.uint8)))


def _other_count(path: Path) -> None:
    path.write_bytes(idx_bytes(np.zeros((TRAIN - 1, 28, 28), np.uint8)))


def _huge(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4] + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1))


@pytest.mark.parametrize(
    ("compress", "damage", "message"),
    [
        (True, _truncate, "truncated"),
        (True, _flip_bytes, "damaged|truncated"),
        (True, _empty, "magic|truncated"),
        (True, _page, "damaged"),
        (False, _truncate, "truncated"),
        (False, _wrong_magic, "magic number 00000803.*00000d03"),
        (False, _inside_header, "inside its header"),
        (False, _too_long, "too long"),
        (False, _empty, "nothing"),
        (False, _other_shape, "1 x 28 x 28, received 1 x 20 x 20"),
        (False, _other_count, "199 images, but .*200 labels"),
        (False, _huge, "truncated"),
    ],
)
def test_a_damaged_file_is_named(
    small_catalogue: dict[str, Entry],
    tmp_path: Path,
    compress: bool,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    write_idx(tmp_path / "mnist", compress=compress)
    path = tmp_path / "mnist" / (f"{IMAGES}.gz" if compress else IMAGES)
    load_data("mnist", root=tmp_path)
    damage(path)
    with pytest.raises(DataError, match=message) as caught:
        load_data("mnist", root=tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("damage", [_truncate, _page])
def test_the_fingerprint_names_a_damaged_archive(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    write_idx(tmp_path / "mnist", compress=True)
    damage(tmp_path / "mnist" / f"{IMAGES}.gz")
    with pytest.raises(DataError, match=f"{IMAGES}.gz"):
        fingerprint("mnist", tmp_path)


def test_a_label_out_of_range_is_named_with_its_row(small_catalogue: dict[str, Entry], tmp_path: Path) -> None:
    arrays = write_idx(tmp_path / "mnist", compress=False)
    labels = arrays[LABELS].copy()
    labels[17] = 10
    (tmp_path / "mnist" / LABELS).write_bytes(idx_bytes(labels))
    with pytest.raises(DataError, match=f"{LABELS}: labels .* 0 to 9, received 10 in row 17"):
        load_data("mnist", root=tmp_path)


def test_a_wrong_number_of_images_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", compress=False)
    with pytest.raises(DataError, match="60000 images in this set, received 200"):
        load_data("mnist", root=tmp_path)


def test_fingerprint_depends_on_content_alone(small_catalogue: dict[str, Entry], tmp_path: Path) -> None:
    write_idx(tmp_path / "plain" / "mnist", compress=False)
    write_idx(tmp_path / "packed" / "MNIST" / "raw", compress=True)
    write_idx(tmp_path / "other" / "mnist", compress=True, seed=1)
    assert fingerprint("mnist", tmp_path / "plain") == fingerprint("mnist", tmp_path / "packed")
    assert fingerprint("mnist", tmp_path / "plain") != fingerprint("mnist", tmp_path / "other")


def test_fingerprint_notices_one_changed_byte_in_every_file(small_catalogue: dict[str, Entry], tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", compress=False)
    seen = {fingerprint("mnist", tmp_path)}
    for path in sorted((tmp_path / "mnist").iterdir()):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        # Another size as well: the time stamps of files may be coarser than this loop is fast.
        path.write_bytes(bytes(content) + b"\0")
        seen.add(fingerprint("mnist", tmp_path))
    assert len(seen) == 5


def test_parquet_fingerprint_ignores_packing(small_catalogue: dict[str, Entry], tmp_path: Path) -> None:
    images, labels = colour_arrays(TRAIN)
    write_parquet(tmp_path / "a/cifar10/cifar10-train.parquet", images, labels, compression="zstd")
    write_parquet(tmp_path / "a/cifar10/cifar10-test.parquet", images[:TEST], labels[:TEST])
    write_parquet(tmp_path / "b/cifar10/data/train-00000-of-00002.parquet", images[:15], labels[:15], image="image")
    write_parquet(tmp_path / "b/cifar10/data/train-00001-of-00002.parquet", images[15:], labels[15:], image="image")
    write_parquet(
        tmp_path / "b/cifar10/data/test-00000-of-00001.parquet", images[:TEST], labels[:TEST], row_group_size=3
    )
    write_parquet(tmp_path / "c/cifar10/train.parquet", images, labels[::-1])
    write_parquet(tmp_path / "c/cifar10/test.parquet", images[:TEST], labels[:TEST])
    first, second, other = (fingerprint("cifar10", tmp_path / folder) for folder in "abc")
    assert first == second != other


def test_parquet_images_come_as_written(small_catalogue: dict[str, Entry], tmp_path: Path) -> None:
    images, labels = colour_arrays(200)
    write_parquet(tmp_path / "cifar10-train.parquet", images, labels)
    write_parquet(tmp_path / "cifar10-test.parquet", images[:50], labels[:50])
    data = load_data("cifar10", root=tmp_path)
    assert data.shape == (3, 32, 32)
    assert torch.equal(data.train.images, torch.from_numpy(images).permute(0, 3, 1, 2)[data.train.indices])
    assert torch.equal(data.test.labels, torch.from_numpy(labels[:50]))


def test_a_strangers_train_file_in_the_root_is_not_taken(small_catalogue: dict[str, Entry], tmp_path: Path) -> None:
    images, labels = colour_arrays(200)
    write_parquet(tmp_path / "train.parquet", images, labels)
    write_parquet(tmp_path / "test.parquet", images[:50], labels[:50])
    with pytest.raises(DataError, match="not found"):
        load_data("cifar10", root=tmp_path)


def test_damaged_parquet_is_named(small_catalogue: dict[str, Entry], tmp_path: Path) -> None:
    images, labels = colour_arrays(200)
    train = tmp_path / "cifar10" / "train.parquet"
    write_parquet(tmp_path / "cifar10" / "test.parquet", images[:50], labels[:50])
    write_parquet(train, images, labels)
    _truncate(train)
    with pytest.raises(DataError, match=r"cifar10/train.parquet is no complete parquet file"):
        load_data("cifar10", root=tmp_path)
    write_parquet(train, images, labels, image="picture")
    with pytest.raises(DataError, match=r"cifar10/train.parquet has the columns picture, label"):
        load_data("cifar10", root=tmp_path)
    write_parquet(train, images[:, :20, :20], labels)
    with pytest.raises(DataError, match=r"cifar10/train.parquet, row 0: expected 32 x 32"):
        load_data("cifar10", root=tmp_path)


def test_another_data_sets_files_under_the_same_names_are_refused(shared_data: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_data / "mnist", tmp_path / "fashion_mnist")
    for use in (lambda: fingerprint("fashion_mnist", tmp_path), lambda: load_data("fashion_mnist", root=tmp_path)):
        with pytest.raises(DataError, match="holds the test labels of MNIST, not of Fashion-MNIST"):
            use()


def test_real_mnist_is_the_official_one(shared_data: Path) -> None:
    for role, name in MNIST.files.items():
        assert content_digest(shared_data / "mnist" / f"{name}.gz") == MNIST.digests[role]
    data = load_data("mnist", root=shared_data)
    # 54,000 / 6,000 as in arXiv 2305.14122, and the first labels of the official files.
    assert (len(data.train), len(data.validation), len(data.test)) == (54_000, 6_000, 10_000)
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    pixels = data.train.images.double() / 255
    assert abs(pixels.mean() - data.train.mean) < 1e-3
    assert abs(pixels.std() - data.train.std) < 1e-3


@pytest.mark.slow
def test_real_cifar10_is_read(shared_data: Path) -> None:
    data = load_data("cifar10", root=shared_data)
    assert (len(data.train), len(data.validation), len(data.test)) == (45_000, 5_000, 10_000)
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10
    pixels = data.train.images.float() / 255
    assert torch.allclose(pixels.mean((0, 2, 3)), data.train.mean, atol=2e-3)
    assert torch.allclose(pixels.std((0, 2, 3)), data.train.std, atol=3e-3)


def test_a_folder_outside_the_root_is_searched_last(
    small_catalogue: dict[str, Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, root = tmp_path / "system", tmp_path / "root"
    entry = dataclasses.replace(small_catalogue["fashion_mnist"], system_folders=(str(system),))
    monkeypatch.setitem(small_catalogue, "fashion_mnist", entry)
    write_idx(system, compress=True)
    outside = fingerprint("fashion_mnist", root)
    write_idx(root / "fashion-mnist", compress=True, seed=1)
    assert fingerprint("fashion_mnist", root) != outside


def test_real_fashion_mnist_of_debian_is_the_official_one() -> None:
    if not any(Path(folder).is_dir() for folder in FASHION_MNIST.system_folders):
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    located = locate(FASHION_MNIST, "/nowhere")
    assert {role: content_digest(paths[0]) for role, paths in located.items()} == FASHION_MNIST.digests
    data = load_data("fashion_mnist", root="/nowhere")
    assert torch.bincount(data.train.labels).tolist() == [5400] * 10


def test_unreadable_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing-here"):
        read_content(tmp_path / "nothing-here")
