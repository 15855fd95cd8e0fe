"""One folder for all data sets, and a folder of its own for any of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from weightscape.data.catalogue import fingerprint, summary
from weightscape.data.downloads import prepare
from weightscape.data.entries import Entry
from weightscape.data.loading import load_data
from weightscape.data.roots import data_root, own_root
from weightscape.errors import DataError

from .conftest import write_idx
from .packagings import Content, write_cifar10_binary, write_cifar10_parquet

pytestmark = pytest.mark.usefixtures("small_catalogue")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    write_cifar10_binary(tmp_path / "fast disk" / "c10", Content())
    write_idx(tmp_path / "sets" / "mnist", compress=False)
    return tmp_path / "fast disk" / "c10"


def test_a_part_of_the_argument_names_the_folder_of_one_data_set(elsewhere: Path, tmp_path: Path) -> None:
    root = f"{tmp_path / 'sets'}{os.pathsep}cifar10={elsewhere}"
    assert summary("cifar10", root).folder == str(elsewhere)
    assert len(load_data("cifar10", root=root).test) == 50
    assert summary("mnist", Path(root)).folder == str(tmp_path / "sets" / "mnist")
    assert data_root(root) == tmp_path / "sets"


@pytest.mark.parametrize("variable", ["WEIGHTSCAPE_DATA_CIFAR10", "WEIGHTSCAPE_DATA"])
def test_the_environment_can_say_so_too(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(elsewhere) if variable.endswith("10") else f"cifar10={elsewhere}")
    assert summary("cifar10").present
    assert data_root() == Path.home() / ".cache" / "weightscape" / "data"
    # What is said as an argument alone decides.
    assert not summary("cifar10", tmp_path / "sets").present
    # A name for another data set says nothing about this one.
    assert summary("cifar10", f"mnist={tmp_path / 'sets' / 'mnist'}").present


def test_the_variable_of_one_data_set_comes_before_the_part_of_the_common_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTSCAPE_DATA", f"/all{os.pathsep}mnist=/part")
    assert own_root("mnist") == Path("/part")
    monkeypatch.setenv("WEIGHTSCAPE_DATA_MNIST", "~/own")
    assert own_root("mnist") == Path.home() / "own"
    # The command line hands the variable on as if it had been said there.
    assert own_root("mnist", f"/all{os.pathsep}mnist=/part") == Path.home() / "own"
    assert own_root("mnist", f"mnist=/said{os.pathsep}/all") == Path("/said")
    assert own_root("mnist", "/all") is None


def test_files_with_common_names_count_in_a_folder_of_their_own(tmp_path: Path) -> None:
    write_cifar10_parquet(tmp_path / "c10", Content())
    with pytest.raises(DataError, match="not found"):
        load_data("cifar10", root=tmp_path / "c10")
    assert fingerprint("cifar10", f"cifar10={tmp_path / 'c10'}")


def test_a_folder_whose_name_has_the_separator_is_taken_whole(tmp_path: Path) -> None:
    folder = tmp_path / f"a{os.pathsep}b=c"
    write_idx(folder / "mnist", compress=False)
    assert summary("mnist", folder).present


def test_what_is_missing_is_put_where_it_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"put the files into {tmp_path / 'own'};"):
        load_data("mnist", root=f"mnist={tmp_path / 'own'}")
    with pytest.raises(DataError, match="could not be fetched"):
        prepare("mnist", f"mnist={tmp_path / 'own'}", mirrors=[])
    assert not (tmp_path / "own").exists()


def test_incomplete_batches_name_what_is_missing(elsewhere: Path) -> None:
    (elsewhere / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"has some of them, but not data_batch_4.bin\."):
        load_data("cifar10", root=f"cifar10={elsewhere}")


def test_unknown_names_are_parts_of_a_path(small_catalogue: dict[str, Entry]) -> None:
    assert data_root("Data=1/sets") == Path("Data=1/sets")
