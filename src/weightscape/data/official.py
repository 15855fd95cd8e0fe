"""The official training and test set of a data set, as its files say; checked against the catalogue."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from weightscape.data.cache import keep_arrays, recall_arrays
from weightscape.data.cifar import read_cifar_binary, read_cifar_python
from weightscape.data.digits import read_digits, test_rows
from weightscape.data.entry import Entry
from weightscape.data.files import Located
from weightscape.data.fingerprinting import refuse_other_data_set, source_key
from weightscape.data.idx import read_idx
from weightscape.data.mat import read_svhn
from weightscape.data.parquet import read_parquet
from weightscape.data.stl import read_stl_images, read_stl_labels
from weightscape.errors import DataError


@dataclass(frozen=True)
class Official:
    """All images of one official set.

    Attributes:
        images: Pixels ``(n, C, H, W)`` uint8.
        labels: Label of each image ``(n,)`` int64.
        indices: Row of each image in the file ``(n,)`` int64.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


_KEPT: OrderedDict[str, tuple[Official, Official]] = OrderedDict()
_MOST_KEPT = 2
_UNCACHED = frozenset({"digits"})
"""Readers that are faster than a look into the cache."""


def read_official(entry: Entry, located: Located) -> tuple[Official, Official]:
    """Return the official training and test set.

    The last two data sets stay in memory, so that the tasks of a study do not decode the same images again; decoded
    images stay on the disk (:mod:`weightscape.data.cache`), so that other processes need not either. Their tensors are
    shared: copy before writing.

    Raises:
        DataError: If a file is damaged, another data set's, or does not hold what the catalogue says.
    """
    refuse_other_data_set(entry, located)
    return read_located(entry, located)


def read_located(entry: Entry, located: Located) -> tuple[Official, Official]:
    """Return the official sets from memory, from the cache, or from the files, in this order.

    Raises:
        DataError: If a file is damaged or does not hold what the catalogue says.
    """
    key = source_key(entry, located)
    if key not in _KEPT:
        _KEPT[key] = _from_cache(entry, located, key)
        while len(_KEPT) > _MOST_KEPT:
            _KEPT.popitem(last=False)
    _KEPT.move_to_end(key)
    return _KEPT[key]


def forget() -> None:
    """Forget the data sets that are kept in memory."""
    _KEPT.clear()


def _from_cache(entry: Entry, located: Located, key: str) -> tuple[Official, Official]:
    if not is_kept(located):
        return _decode(entry, located)
    if arrays := recall_arrays(key):
        return official_set(arrays, "train"), official_set(arrays, "test")
    train, test = _decode(entry, located)
    arrays = {"train-images": train.images, "train-labels": train.labels}
    keep_arrays(key, arrays | {"test-images": test.images, "test-labels": test.labels})
    return train, test


def is_kept(located: Located) -> bool:
    """Return whether the data set is kept decoded on the disk."""
    return located.reader not in _UNCACHED


def official_set(arrays: dict[str, Tensor], role: str) -> Official:
    """Return the official set ``train`` or ``test`` of what the cache keeps."""
    labels = arrays[f"{role}-labels"]
    return Official(arrays[f"{role}-images"], labels, torch.arange(len(labels)))


def _decode(entry: Entry, located: Located) -> tuple[Official, Official]:
    if located.reader == "digits":
        return _digits(entry, located.files["all"][0])
    train, test = (_read(entry, located, role) for role in ("train", "test"))
    return _checked(entry, entry.train_size, *train), _checked(entry, entry.test_size, *test)


def _read(entry: Entry, located: Located, role: str) -> tuple[Tensor, Tensor, str, str]:
    """Return images and labels of one set, and the names of their files for messages."""
    if located.reader in {"idx", "stl10-binary"}:
        image_file, label_file = (located.files[f"{role} {part}"][0] for part in ("images", "labels"))
        if located.reader == "idx":
            return _idx(image_file, label_file)
        return read_stl_images(image_file, entry.shape), read_stl_labels(label_file), str(image_file), str(label_file)
    paths = located.files[role]
    images, labels = _rows(entry, located.reader, paths)
    where = str(paths[0] if len(paths) == 1 else paths[0].parent)
    return images, labels, where, where


def _rows(entry: Entry, reader: str, paths: tuple[Path, ...]) -> tuple[Tensor, Tensor]:
    if reader == "parquet":
        return read_parquet(paths, entry.shape, entry.label_columns)
    if reader == "svhn-mat":
        return read_svhn(paths[0])
    # CIFAR-100 has two labels per image, and says so in the names of its parquet columns too.
    column = entry.label_columns[0]
    if reader == "cifar-binary":
        return read_cifar_binary(paths, 1 if column == "label" else 2, int(column == "fine_label"))
    return read_cifar_python(paths, "labels" if column == "label" else f"{column}s")


def _idx(image_file: Path, label_file: Path) -> tuple[Tensor, Tensor, str, str]:
    images = read_idx(image_file, 3).unsqueeze(1)
    return images, read_idx(label_file, 1).long(), str(image_file), str(label_file)


def _digits(entry: Entry, path: Path) -> tuple[Official, Official]:
    images, labels = read_digits(path)
    total = entry.train_size + entry.test_size
    everything = _checked(entry, total, images, labels, str(path), str(path))
    held_out = test_rows(labels)
    train, test = (Official(images[rows], labels[rows], everything.indices[rows]) for rows in (~held_out, held_out))
    return train, test


def _checked(entry: Entry, count: int, images: Tensor, labels: Tensor, image_file: str, label_file: str) -> Official:
    if len(images) != len(labels):
        raise DataError(f"{image_file} holds {len(images)} images, but {label_file} {len(labels)} labels.")
    if images.shape[1:] != entry.shape:
        expected, received = (" x ".join(map(str, shape)) for shape in (entry.shape, tuple(images.shape[1:])))
        raise DataError(f"{image_file}: images of {entry.title} are {expected}, received {received}.")
    if len(images) != count:
        raise DataError(f"{image_file}: {entry.title} has {count} images in this set, received {len(images)}.")
    wrong = ((labels < 0) | (labels >= len(entry.classes))).nonzero().squeeze(1)
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{label_file}: labels of {entry.title} lie in 0 to {len(entry.classes) - 1}, received {int(labels[row])} "
            f"in row {row} ({len(wrong)} such rows). The file is damaged; fetch it again."
        )
    return Official(images, labels, torch.arange(len(labels)))
