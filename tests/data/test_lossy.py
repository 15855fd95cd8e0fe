"""A JPEG copy of lossless images says that it is one, wherever its pixels come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from weightscape.data import fingerprinting, official
from weightscape.data.catalogue import describe
from weightscape.data.entries import Entry
from weightscape.data.files import locate
from weightscape.data.loading import load_data
from weightscape.data.specification import DataSettings

from .conftest import colour_arrays, write_idx, write_parquet


def cifar10(folder: Path, train: str = "PNG", test: str = "PNG") -> Path:
    images, labels = colour_arrays(200)
    write_parquet(folder / "cifar10" / "train.parquet", images, labels, encoding=train)
    write_parquet(folder / "cifar10" / "test.parquet", images[:50], labels[:50], encoding=test)
    return folder


@pytest.fixture(autouse=True)
def forget_this_process() -> None:
    forget()


def forget() -> None:
    official.forget()
    fingerprinting._LOSSY.clear()


@pytest.mark.parametrize(
    ("train", "test", "lossy"), [("PNG", "PNG", False), ("JPEG", "JPEG", True), ("PNG", "JPEG", True)]
)
def test_the_encoding_of_the_files_says_whether_pixels_are_a_lossy_copy(
    small_catalogue: dict[str, Entry], tmp_path: Path, train: str, test: str, lossy: bool
) -> None:
    root = cifar10(tmp_path, train, test)
    assert load_data("cifar10", root=root).lossy is lossy
    assert load_data(DataSettings(name="cifar10", classes=(1, 4), size=16), root=root).lossy is lossy
    assert load_data("cifar10", root=root).to("cpu").lossy is lossy


@pytest.mark.parametrize("encoding", ["PNG", "JPEG"])
def test_a_decoded_copy_knows_it_without_the_images_being_read_again(
    small_catalogue: dict[str, Entry], tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTSCAPE_CACHE", str(tmp_path / "cache"))
    root = cifar10(tmp_path / "data", encoding, encoding)
    first = load_data("cifar10", root=root).lossy
    forget()
    monkeypatch.setattr(fingerprinting, "_encoded", lambda *_: pytest.fail("the files were read again"))
    assert load_data("cifar10", root=root).lossy is first is (encoding == "JPEG")


def test_a_decoded_set_of_before_this_was_remembered_is_looked_at_again(
    small_catalogue: dict[str, Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTSCAPE_CACHE", str(tmp_path / "cache"))
    root = cifar10(tmp_path / "data", "JPEG", "JPEG")
    load_data("cifar10", root=root)
    for text in (tmp_path / "cache").glob("*-lossy.txt"):
        text.unlink()
    forget()
    assert load_data("cifar10", root=root).lossy


def test_files_that_hold_the_original_bytes_are_no_lossy_copy(
    small_catalogue: dict[str, Entry], tmp_path: Path
) -> None:
    write_idx(tmp_path / "mnist", compress=True)
    assert not load_data("mnist", root=tmp_path).lossy
    assert not load_data("digits").lossy


def test_the_shared_cifar_is_a_lossy_copy(shared_data: Path) -> None:
    entry = describe("cifar10")
    assert fingerprinting.lossy_copy(entry, locate(entry, shared_data))
