"""Data of the user's own: files or a function, in the place of a data set of the catalogue."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weightscape.data.digits import test_rows
from weightscape.data.entry import Entry
from weightscape.data.official import Official
from weightscape.data.own_arrays import labelled_images, named_arrays
from weightscape.data.own_code import own_function
from weightscape.data.own_files import ARRAY_SUFFIXES, has_colours, image_files, read_arrays, read_images
from weightscape.data.roots import data_root
from weightscape.data.sources import source_kind
from weightscape.errors import DataError, ModelError
from weightscape.source import check_source, source_hash


@dataclass(frozen=True)
class OwnData:
    """A data set that is not in the catalogue.

    Attributes:
        entry: What the catalogue would say.
        train: Training images.
        test: Test images.
        fingerprint: Hash of the content (and of the source, for a function).
    """

    entry: Entry
    train: Official
    test: Official
    fingerprint: str


def own_data(
    name: str, arguments: dict[str, Any] | None = None, *, size: int | None = None, root: str | Path | None = None
) -> OwnData:
    """Read a data set of the user's own; the last ones stay in memory as long as their files stay as they are.

    Args:
        name: A folder, a file of arrays, or the dotted path of a function.
        arguments: Keyword arguments of the function.
        size: Size to which the images of a folder are brought.
        root: Folder of data sets, in which a relative path is looked for after the current one.

    Raises:
        DataError: If there is no such thing, or it is not a data set of images.
    """
    if source_kind(name) == "function":
        try:
            check_source(name, arguments or {})
            source = source_hash(name)
        except ModelError as error:
            raise DataError(str(error)) from error
        return _function_data(name, json.dumps(arguments or {}, sort_keys=True), source)
    if arguments:
        raise DataError(f"arguments are for functions; {name!r} is a file or a folder.")
    path = own_path(name, root)
    if path.is_dir():
        files = [file for part in image_files(path)[1].values() for file, _ in part]
        return _folder_data(name, path, size, _state(files))
    return _array_data(name, path, _state([path]))


def own_path(name: str, root: str | Path | None = None) -> Path:
    """Return the path of data of the user's own, relative to the current folder, else to that of data sets.

    Raises:
        DataError: If neither has it, or it is neither a folder nor a file of arrays.
    """
    path = Path(name).expanduser()
    places = dict.fromkeys([path.absolute(), (data_root(root) / path).absolute()])  # one, if it is absolute itself
    for found in places:
        if found.is_dir() or (found.is_file() and found.suffix in ARRAY_SUFFIXES):
            return found.resolve()
    wrong = f"neither {' nor '.join(map(str, places))} is one." if len(places) > 1 else "none has this path."
    raise DataError(
        f"expected a folder of images by class, or a file of arrays ({', '.join(ARRAY_SUFFIXES)}), received {name!r}: "
        f"{wrong}"
    )


def _state(files: list[Path]) -> tuple[tuple[str, int, int], ...]:
    return tuple((str(file), (status := file.stat()).st_size, status.st_mtime_ns) for file in files)


@functools.lru_cache(maxsize=2)
def _function_data(name: str, arguments: str, source: str) -> OwnData:
    given = json.loads(arguments)
    try:
        found = own_function(name, given)(**given)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{name} failed with the arguments {given}: {error!r}") from error
    return _from_arrays(name, f"what {name} returns", named_arrays(name, found), source)


@functools.lru_cache(maxsize=2)
def _array_data(name: str, path: Path, state: object) -> OwnData:
    return _from_arrays(name, str(path), read_arrays(path), "")


def _from_arrays(name: str, where: str, held: dict[str, Any], source: str) -> OwnData:
    pairs = labelled_images(where, held)
    count = 1 + max(int(labels.max()) for _, labels in pairs.values())
    text = "\n".join([source, *(f"{part} {_digest(*pair)}" for part, pair in sorted(pairs.items()))])
    return _made(name, pairs, tuple(map(str, range(count))), _hash(text))


@functools.lru_cache(maxsize=2)
def _folder_data(name: str, path: Path, size: int | None, state: object) -> OwnData:
    classes, parts = image_files(path)
    colours = any(has_colours(files) for files in parts.values())
    pairs = {
        part: (read_images(files, size=size, colours=colours), torch.tensor([label for _, label in files]))
        for part, files in parts.items()
    }
    digests = (f"{part} {_encoded_digest(files)}" for part, files in sorted(parts.items()))
    return _made(name, pairs, classes, _hash("\n".join(["folder", *digests])))


def _made(name: str, pairs: dict[str, tuple[Tensor, Tensor]], classes: tuple[str, ...], fingerprint: str) -> OwnData:
    sets = {part: Official(*pair, torch.arange(len(pair[1]))) for part, pair in pairs.items()}
    if "all" in sets:
        held_out = test_rows(sets["all"].labels)
        sets = {
            part: Official(sets["all"].images[rows], sets["all"].labels[rows], sets["all"].indices[rows])
            for part, rows in (("train", ~held_out), ("test", held_out))
        }
    train, test = sets["train"], sets["test"]
    if train.images.shape[1:] != test.images.shape[1:] or len(classes) < 2 or not len(test.labels):
        raise DataError(
            f"{name}: expected training and test images of one shape and two classes or more, received "
            f"{tuple(train.images.shape)}, {tuple(test.images.shape)} and {len(classes)} classes."
        )
    entry = _entry(name, classes, train.images, len(test.labels))
    return OwnData(entry, train, test, fingerprint)


def _entry(name: str, classes: tuple[str, ...], images: Tensor, test_size: int) -> Entry:
    count, channels, height, width = images.shape
    mean, std = _moments(images)
    return Entry(
        name=name,
        title="Data of your own",
        shape=(channels, height, width),
        classes=classes,
        train_size=count,
        test_size=test_size,
        mean=mean,
        std=std,
        reader="own",
        files={},
        digests={},
        folders=(),
        licence="yours to know",
        citation="",
        homepage="",
    )


def _moments(images: Tensor, chunk: int = 4096) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel for pixels in [0, 1], to four digits."""
    total = squares = torch.zeros(images.shape[1], dtype=torch.float64)
    count = images[:, 0].numel()
    for start in range(0, len(images), chunk):
        pixels = images[start : start + chunk].double().transpose(0, 1).flatten(1) / 255
        total, squares = total + pixels.sum(1), squares + pixels.square().sum(1)
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    rounded = [round(value, 4) for value in std.tolist()]
    return tuple(round(value, 4) for value in mean.tolist()), tuple(value or 1.0 for value in rounded)


def _digest(images: Tensor, labels: Tensor) -> str:
    digest = hashlib.blake2b(repr(tuple(images.shape)).encode(), digest_size=16)
    digest.update(images.numpy().data)
    digest.update(labels.numpy().data)
    return digest.hexdigest()


def _encoded_digest(files: list[tuple[Path, int]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path, label in files:
        content = path.read_bytes()
        digest.update(b"%d %d " % (label, len(content)))
        digest.update(content)
    return digest.hexdigest()


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
