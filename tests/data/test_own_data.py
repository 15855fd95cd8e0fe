"""Data of the user's own: folders of images, files of arrays, functions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from weightscape.data.catalogue import shape_and_classes
from weightscape.data.loading import load_data
from weightscape.data.own_arrays import labelled_images
from weightscape.data.sources import source_kind
from weightscape.data.specification import DataSettings
from weightscape.errors import DataError, ModelError

COUNT = 60


def arrays(seed: int = 0, channels: int | None = 3, side: int = 10) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shape = (side, side) if channels is None else (side, side, channels)
    return {
        f"{part}_{what}": value
        for part, count in (("train", COUNT), ("test", COUNT // 2))
        for what, value in (
            ("images", random.integers(0, 256, (count, *shape), dtype=np.uint8)),
            ("labels", np.arange(count) % 3),
        )
    }


def save_npz(path: Path, held: dict[str, Any]) -> None:
    np.savez_compressed(path, **held)


def save_pt(path: Path, held: dict[str, Any]) -> None:
    torch.save({name: torch.from_numpy(value) for name, value in held.items()}, path)


def save_safetensors(path: Path, held: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    save_file(held, path)


SAVERS: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    ".npz": save_npz,
    ".pt": save_pt,
    ".safetensors": save_safetensors,
}


def write_folder(folder: Path, held: dict[str, np.ndarray], *, suffix: str = ".png") -> None:
    for part in ("train", "test"):
        for row, (image, label) in enumerate(zip(held[f"{part}_images"], held[f"{part}_labels"], strict=True)):
            place = folder / part / "abc"[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{row:03}{suffix}")


@pytest.mark.parametrize("suffix", SAVERS)
def test_arrays_come_as_saved(tmp_path: Path, suffix: str) -> None:
    held = arrays()
    SAVERS[suffix](tmp_path / f"data{suffix}", held)
    data = load_data(str(tmp_path / f"data{suffix}"))
    assert (data.shape, data.classes, len(data.train) + len(data.validation)) == ((3, 10, 10), ("0", "1", "2"), COUNT)
    for split, part in ((data.train, "train"), (data.validation, "train"), (data.test, "test")):
        rows = split.indices.numpy()
        assert np.array_equal(split.images.numpy(), held[f"{part}_images"].transpose(0, 3, 1, 2)[rows])
        assert np.array_equal(split.labels.numpy(), held[f"{part}_labels"][rows])
    pixels = held["train_images"] / 255
    assert np.allclose(data.train.mean.numpy(), pixels.mean((0, 1, 2)), atol=6e-5)
    assert np.allclose(data.train.std.numpy(), pixels.std((0, 1, 2)), atol=6e-5)


def test_equal_arrays_have_one_fingerprint_in_every_file(tmp_path: Path) -> None:
    for suffix, save in SAVERS.items():
        save(tmp_path / f"data{suffix}", arrays())
        save(tmp_path / f"other{suffix}", arrays(seed=1))
    planes = arrays()
    for part in ("train", "test"):
        planes[f"{part}_images"] = planes[f"{part}_images"].transpose(0, 3, 1, 2).copy()
    save_npz(tmp_path / "planes.npz", planes)

    def prints(name: str) -> set[str]:
        return {DataSettings(name=str(path)).fingerprint() for path in tmp_path.glob(f"{name}.*")}

    assert len(prints("data")) == 1
    assert prints("planes") == prints("data")
    assert len(prints("other") | prints("data")) == 2


def test_the_names_of_other_programs_are_known_and_one_set_is_cut(tmp_path: Path) -> None:
    held = arrays(channels=None)
    names = {"train_images": "x_train", "train_labels": "y_train", "test_images": "x_test", "test_labels": "y_test"}
    save_npz(tmp_path / "keras.npz", {names[name]: value for name, value in held.items()})
    assert load_data(str(tmp_path / "keras.npz")).shape == (1, 10, 10)
    save_npz(tmp_path / "one.npz", {"images": held["train_images"], "labels": held["train_labels"]})
    data = load_data(str(tmp_path / "one.npz"))
    # Every fifth image of each class is the test set.
    assert torch.bincount(data.test.labels).tolist() == [4, 4, 4]
    assert not set(data.test.indices.tolist()) & set(data.train.indices.tolist() + data.validation.indices.tolist())


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_a_folder_of_images_by_class(tmp_path: Path, suffix: str) -> None:
    held = arrays()
    write_folder(tmp_path / "flowers", held, suffix=suffix)
    (tmp_path / "flowers" / "train" / "a" / "notes.txt").write_text("not an image")
    data = load_data(str(tmp_path / "flowers"))
    assert data.classes == ("a", "b", "c")
    expected = [held["test_images"][held["test_labels"] == label] for label in range(3)]
    assert np.array_equal(data.test.images.numpy(), np.concatenate(expected).transpose(0, 3, 1, 2))
    assert data.test.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10


def test_a_folder_without_parts_is_cut_and_grey_images_have_one_channel(tmp_path: Path) -> None:
    held = arrays(channels=None)
    write_folder(tmp_path / "both", held)
    os.rename(tmp_path / "both" / "train", tmp_path / "greys")
    data = load_data(str(tmp_path / "greys"))
    assert data.shape == (1, 10, 10)
    assert len(data.test) == COUNT // 5
    Image.new("RGB", (10, 10), "red").save(tmp_path / "greys" / "a" / "red.png")
    assert load_data(str(tmp_path / "greys")).shape == (3, 10, 10)


def test_a_size_brings_all_images_to_a_square(tmp_path: Path) -> None:
    write_folder(tmp_path / "flowers", arrays())
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    Image.fromarray(wide).save(tmp_path / "flowers" / "test" / "a" / "wide.png")
    with pytest.raises(DataError, match=r"wide.png has 20 x 60 pixels.*Give a size"):
        load_data(str(tmp_path / "flowers"))
    data = load_data(DataSettings(name=str(tmp_path / "flowers"), size=16))
    assert data.shape == (3, 16, 16)
    # The centre of the wide image, which is light.
    lightest = data.test.images.float().mean((1, 2, 3)).argmax()
    assert (data.test.images[lightest] > 180).all()


def test_the_fingerprint_of_a_folder_is_that_of_its_content(tmp_path: Path) -> None:
    write_folder(tmp_path / "one", arrays())
    write_folder(tmp_path / "two", arrays())
    first, second = (DataSettings(name=str(tmp_path / name)) for name in ("one", "two"))
    before = first.fingerprint()
    assert before == second.fingerprint()
    os.rename(tmp_path / "two" / "train" / "a" / "000.png", tmp_path / "two" / "train" / "b" / "000.png")
    assert before != second.fingerprint()


MODULE = """
import numpy as np

def my_data(*, count=60, value=None, kind="mapping"):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 9, 9), dtype=np.uint8)
    if value is not None:
        images[:] = value
    labels = np.arange(count) % 2
    return {"mapping": {"images": images, "labels": labels}, "pair": (images, labels),
            "four": (images, labels, images, labels), "wrong": images}[kind]

def fails():
    raise OSError("the disk is away")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return name


@pytest.mark.parametrize(("kind", "test"), [("mapping", 12), ("pair", 12), ("four", 60)])
def test_a_function_returns_arrays(module: str, kind: str, test: int) -> None:
    data = load_data(DataSettings(name=f"{module}.my_data", arguments={"kind": kind}))
    assert data.shape == (1, 9, 9)
    assert len(data.test) == test
    assert data.name == f"{module}.my_data"


def test_the_fingerprint_of_a_function_is_that_of_its_source_and_what_it_returns(module: str, tmp_path: Path) -> None:
    def of(**arguments: Any) -> str:
        return DataSettings(name=f"{module}.my_data", arguments=arguments).fingerprint()

    assert of() == of(count=60)
    assert of() != of(value=3)
    before = of()
    path = tmp_path / f"{module}.py"
    path.write_text(MODULE + "# another line\n")
    assert of() != before


def test_relative_paths_are_looked_for_here_then_among_the_data_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sets").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    save_npz(tmp_path / "sets" / "data.npz", arrays(seed=1))
    there = DataSettings(name="data.npz").fingerprint(tmp_path / "sets")
    save_npz(tmp_path / "here" / "data.npz", arrays(seed=2))
    assert DataSettings(name="data.npz").fingerprint(tmp_path / "sets") != there


def test_shape_and_classes_are_read_from_the_data(tmp_path: Path) -> None:
    save_npz(tmp_path / "data.npz", arrays())
    name = str(tmp_path / "data.npz")
    assert shape_and_classes(name) == ((3, 10, 10), 3)
    assert shape_and_classes(DataSettings(name=name, size=12, classes=(2, 0))) == ((3, 12, 12), 2)
    wrong = DataSettings(name=name, classes=(0, 3))
    for use in (load_data, DataSettings.fingerprint):
        with pytest.raises(DataError, match="0 to 2, received 3"):
            use(wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((COUNT, 10, 10))}, "expected train_images as bytes"),
        ({"train_images": np.zeros((COUNT, 100), np.uint8)}, "Other inputs than images are not supported"),
        ({"train_images": np.zeros((COUNT, 10, 10, 5), np.uint8)}, "with 1 or 3 channels"),
        ({"train_labels": np.zeros(COUNT)}, "whole numbers from 0"),
        ({"train_labels": np.full(COUNT, -1)}, "whole numbers from 0"),
        ({"train_labels": np.zeros(7, int)}, "60 train_images, but 7 train_labels"),
        ({"test_images": np.zeros((COUNT // 2, 12, 12, 3), np.uint8)}, "of one shape"),
        ({"test_labels": None}, "expected the arrays train_images"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    held = {name: value for name, value in (arrays() | changes).items() if value is not None}
    save_npz(tmp_path / "data.npz", held)
    with pytest.raises(DataError, match=message):
        load_data(str(tmp_path / "data.npz"))


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_labels_of_one_image_are_labels(shape: tuple[int, ...]) -> None:
    image, label = np.zeros((1, 8, 8), dtype=np.uint8), np.zeros(shape, dtype=np.int64)
    found = labelled_images("one.npz", {"images": image, "labels": label})
    assert found["all"][1].tolist() == [0]


def test_files_with_objects_are_refused_and_not_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'executed'}",)

    np.savez(tmp_path / "data.npz", images=np.array([Evil()], dtype=object))
    torch.save({"images": Evil()}, tmp_path / "data.pt")
    for name in ("data.npz", "data.pt"):
        with pytest.raises(DataError, match="damaged or holds more than arrays"):
            load_data(str(tmp_path / name))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("arguments", "function", "message"),
    [
        ({"kind": "wrong"}, "my_data", "should return a dictionary of arrays"),
        ({"kidn": "pair"}, "my_data", "takes no argument 'kidn'. Did you mean 'kind'"),
        ({}, "fails", "failed with the arguments .*the disk is away"),
        ({}, "absent", "cannot be imported"),
    ],
)
def test_faults_of_a_function_are_named(module: str, arguments: dict[str, Any], function: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_data(DataSettings(name=f"{module}.{function}", arguments=arguments))


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none has this path"):
        load_data(str(tmp_path / "absent"))
    with pytest.raises(DataError, match=r"neither \S+/absent nor \S+/absent is one"):
        load_data("./absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="received all: none"):
        load_data(str(tmp_path / "empty"))
    write_folder(tmp_path / "flowers", arrays())
    (tmp_path / "flowers" / "test" / "d").mkdir()
    with pytest.raises(DataError, match="the same two or more classes everywhere"):
        load_data(str(tmp_path / "flowers"))
    (tmp_path / "flowers" / "test" / "d").rmdir()
    path = tmp_path / "flowers" / "train" / "a" / "000.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"000.png is no complete image"):
        load_data(str(tmp_path / "flowers"))
    (tmp_path / "flowers" / "train" / "e").mkdir()
    (tmp_path / "flowers" / "test" / "e").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        load_data(str(tmp_path / "flowers"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("mnist", "catalogue"), ("flowers/", "files"), ("~/x", "files"), ("a.npz", "files"), ("a.b.c", "function")],
)
def test_names_say_where_data_comes_from(name: str, kind: str) -> None:
    assert source_kind(name) == kind


def test_a_transform_of_ones_own_is_part_of_the_fingerprint_and_checked_before_anything_starts(
    module: str, tmp_path: Path
) -> None:
    def settings(**arguments: Any) -> DataSettings:
        return DataSettings(name="digits", augment={"name": f"{module}.my_data", **arguments})

    before = settings().fingerprint()
    assert before != DataSettings(name="digits").fingerprint()
    (tmp_path / f"{module}.py").write_text(MODULE + "# another line\n")
    assert settings().fingerprint() != before
    with pytest.raises(ModelError, match="takes no argument 'cuont'"):
        settings(cuont=3).fingerprint()


def test_arguments_are_for_functions(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="arguments are for functions"):
        DataSettings(name="mnist", arguments={"a": 1})
    with pytest.raises(DataError, match=r"expected the name of a data set.*Data of your own"):
        load_data("flowers")
