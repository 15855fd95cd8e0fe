"""The catalogue: entries, shapes, impossible requests, summaries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from weightscape.data.catalogue import check_classes, data_root, describe, names, shape_and_classes, summary
from weightscape.data.specification import DataSettings
from weightscape.errors import DataError

from .conftest import write_idx


@pytest.mark.parametrize("name", names())
def test_entries_are_complete(name: str) -> None:
    entry = describe(name)
    assert len(entry.mean) == len(entry.std) == entry.shape[0]
    assert len(set(entry.classes)) == len(entry.classes)
    assert entry.licence
    assert entry.citation
    assert entry.reader != "idx" or set(entry.digests) == set(entry.files)


def test_catalogue_fingerprint_and_specification_load_no_numerical_library() -> None:
    code = (
        "import sys; from weightscape.data.catalogue import *; from weightscape.data.specification import DataSettings;"
        "import weightscape.data.downloads; fingerprint('digits'); shape_and_classes(DataSettings(name='digits'));"
        "summary('mnist', '/nowhere');"
        "print([m for m in ('torch', 'numpy', 'pandas', 'pyarrow', 'sklearn', 'datasets', 'PIL') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_unknown_name_suggests_a_close_one() -> None:
    with pytest.raises(DataError, match="Did you mean 'mnist'"):
        describe("mnsit")
    with pytest.raises(ValidationError, match="Did you mean 'cifar10'"):
        DataSettings(name="cifar-10")


def test_shape_and_classes_follow_the_settings() -> None:
    assert shape_and_classes("cifar10") == ((3, 32, 32), 10)
    assert shape_and_classes(DataSettings(name="digits")) == ((1, 8, 8), 10)
    assert shape_and_classes(DataSettings(name="digits", size=28, classes=(7, 1, 3))) == ((1, 28, 28), 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": (3, 10)}, "0 to 9, received 10"),
        ({"classes": (3, 3)}, "received 3 repeatedly"),
        ({"classes": (3,)}, "at least two"),
        ({"classes": ()}, "at least two"),
    ],
)
def test_impossible_settings_are_refused_with_or_without_validation(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataSettings(name="mnist", **options)
    unchecked = DataSettings(name="mnist").model_copy(update=options)
    with pytest.raises(DataError, match=message):
        shape_and_classes(unchecked)


def test_negative_labels_are_refused() -> None:
    with pytest.raises(DataError, match="received -1"):
        check_classes(describe("mnist"), (-1, 2))


def test_data_root_prefers_argument_then_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert data_root() == Path.home() / ".cache" / "weightscape" / "data"
    monkeypatch.setenv("WEIGHTSCAPE_DATA", str(tmp_path / "environment"))
    assert data_root() == tmp_path / "environment"
    assert data_root(tmp_path / "argument") == tmp_path / "argument"
    assert data_root("~/sets") == Path.home() / "sets"


def test_summary_says_which_files_are_there(tmp_path: Path) -> None:
    absent = summary("mnist", tmp_path)
    assert not absent.present
    assert absent.folder == str(tmp_path / "mnist")
    assert absent.size_bytes is None
    write_idx(tmp_path / "mnist", compress=True)
    complete = summary("mnist", tmp_path)
    assert complete.present
    assert complete.size_bytes == sum(path.stat().st_size for path in (tmp_path / "mnist").iterdir())
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    partial = summary("mnist", tmp_path)
    assert not partial.present
    assert [role for role, paths in partial.files.items() if not paths] == ["test labels"]
    assert partial.to_frame()["name"].tolist() == ["mnist"]


def test_digits_are_always_present() -> None:
    assert summary("digits").present
