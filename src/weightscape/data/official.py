"""The official training and test set of a data set, as its files say; checked against the catalogue."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from weightscape.data.digits import read_digits, test_rows
from weightscape.data.entries import ENTRIES, Entry
from weightscape.data.files import Located
from weightscape.data.fingerprinting import refuse_other_data_set
from weightscape.data.idx import read_idx
from weightscape.data.parquet import read_parquet
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


_Files: TypeAlias = tuple[tuple[str, tuple[tuple[Path, int], ...]], ...]


def read_official(entry: Entry, located: Located) -> tuple[Official, Official]:
    """Return the official training and test set.

    The last two data sets stay in memory, so that the tasks of a study do not decode the same images again. Their
    tensors are shared: copy before writing.

    Raises:
        DataError: If a file is damaged, another data set's, or does not hold what the catalogue says.
    """
    refuse_other_data_set(entry, located)
    files = tuple(
        (role, tuple((path, path.stat().st_mtime_ns) for path in paths)) for role, paths in sorted(located.items())
    )
    return _read(entry.name, files)


@functools.lru_cache(maxsize=2)
def _read(name: str, files: _Files) -> tuple[Official, Official]:
    # The times of change are part of the key alone: a changed file is read again.
    entry = ENTRIES[name]
    located = {role: [path for path, _ in paths] for role, paths in files}
    if entry.reader == "digits":
        return _digits(entry, located["all"][0])
    if entry.reader == "parquet":
        sets = [(read_parquet(located[role], entry.shape), str(located[role][0].parent)) for role in ("train", "test")]
        train, test = ((images, labels, where, where) for (images, labels), where in sets)
    else:
        train, test = (_idx(located[f"{role} images"][0], located[f"{role} labels"][0]) for role in ("train", "test"))
    return _checked(entry, entry.train_size, *train), _checked(entry, entry.test_size, *test)


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
