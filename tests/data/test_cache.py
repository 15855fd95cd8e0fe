"""Decoded data sets on the disk: found again, shared, safe with several processes, never needed."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from weightscape.data import cache, official
from weightscape.data.catalogue import fingerprint
from weightscape.data.entries import Entry
from weightscape.data.loading import load_data

from .conftest import colour_arrays, write_idx, write_parquet


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEIGHTSCAPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(small_catalogue: dict[str, Entry], tmp_path: Path) -> Path:
    write_idx(tmp_path / "data" / "mnist", compress=True)
    images, labels = colour_arrays(200)
    write_parquet(tmp_path / "data" / "cifar10" / "train.parquet", images, labels)
    write_parquet(tmp_path / "data" / "cifar10" / "test.parquet", images[:50], labels[:50])
    return tmp_path / "data"


def decoding_fails(*_: object) -> None:
    raise AssertionError("decoded again")


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_second_process_does_not_decode(
    folder: Path, root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, print_of_first = load_data(name, root=root), fingerprint(name, root)
    official.forget()
    monkeypatch.setattr(official, "_decode", decoding_fails)
    second = load_data(name, root=root)
    for split in ("train", "validation", "test"):
        for tensor in ("images", "labels", "indices"):
            assert torch.equal(getattr(getattr(first, split), tensor), getattr(getattr(second, split), tensor))
    assert fingerprint(name, root) == print_of_first


def test_writing_to_mapped_images_changes_neither_file_nor_other_readers(folder: Path, root: Path) -> None:
    load_data("mnist", root=root)
    key = next(path.name for path in folder.iterdir() if path.is_dir())
    first, second = cache.recall_arrays(key), cache.recall_arrays(key)
    assert first is not None
    assert second is not None
    before = second["train-images"].clone()
    first["train-images"].zero_()
    assert torch.equal(second["train-images"], before)
    third = cache.recall_arrays(key)
    assert third is not None
    assert torch.equal(third["train-images"], before)


def test_a_changed_file_is_decoded_again(folder: Path, root: Path) -> None:
    before = load_data("mnist", root=root)
    old = fingerprint("mnist", root)
    write_idx(root / "mnist", compress=True, seed=1)
    assert not torch.equal(load_data("mnist", root=root).test.images, before.test.images)
    assert fingerprint("mnist", root) != old


@pytest.mark.parametrize("damage", ["truncate", "empty", "remove", "page"])
def test_a_damaged_cache_is_made_again(folder: Path, root: Path, damage: str) -> None:
    before = load_data("mnist", root=root)
    for path in folder.rglob("train-images.npy"):
        content = path.read_bytes()
        if damage == "remove":
            path.unlink()
        else:
            path.write_bytes({"truncate": content[:-9], "empty": b"", "page": b"<html>"}[damage])
    official.forget()
    assert torch.equal(load_data("mnist", root=root).train.images, before.train.images)
    official.forget()
    assert torch.equal(load_data("mnist", root=root).train.images, before.train.images)


def test_where_nothing_can_be_written_everything_works(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    for value in (str(tmp_path / "file"), str(tmp_path / "file" / "below"), "off", "/proc/nowhere"):
        monkeypatch.setenv("WEIGHTSCAPE_CACHE", value)
        official.forget()
        assert len(load_data("mnist", root=root).test) == 50
        assert fingerprint("mnist", root)
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_full_disk_leaves_nothing_behind(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "fsync", full)
    assert len(load_data("mnist", root=root).test) == 50
    assert [path.name for path in folder.iterdir() if path.is_dir()] == []


def test_writers_at_the_same_time_leave_one_complete_copy(folder: Path) -> None:
    arrays = {"train-images": torch.arange(100_000, dtype=torch.uint8)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: cache.keep_arrays("key", arrays), range(16)))
    found = cache.recall_arrays("key")
    assert found is not None
    assert torch.equal(found["train-images"], arrays["train-images"])
    assert [path.name for path in folder.iterdir()] == ["key"]


def test_a_remembered_fingerprint_loads_no_numerical_library(folder: Path, shared_data: Path) -> None:
    code = (
        "import sys; from weightscape.data.catalogue import fingerprint;"
        f"print(fingerprint('mnist', {str(shared_data)!r}), 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    first, second = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    )
    assert first == second == ["0334255613508bbbecd3d1ca95fe3eca", "False", "False"]
