"""From settings to a data set in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from weightscape.data.cache import keep_arrays, recall_arrays
from weightscape.data.catalogue import check_classes, describe
from weightscape.data.dataset import Dataset, Split
from weightscape.data.entry import Entry
from weightscape.data.files import Located, locate
from weightscape.data.fingerprinting import lossy_copy, refuse_other_data_set, source_key
from weightscape.data.listed import LISTED
from weightscape.data.listed_images import listed_pieces
from weightscape.data.normalisation import moments
from weightscape.data.official import Official, is_kept, official_set, read_official
from weightscape.data.sources import source_kind
from weightscape.data.specification import DataSettings
from weightscape.data.subsets import renumbered, rows_of_classes, training_and_validation
from weightscape.devices import device_here

Pieces: TypeAlias = dict[str, Official]
"""The images of each split."""
_NAMES = ("images", "labels", "indices")


def load_data(
    spec: DataSettings | str,
    *,
    root: str | Path | None = None,
    device: str | torch.device = "cpu",
    download: bool = False,
) -> Dataset:
    """Load a data set of the catalogue, or of the user's own, into memory and cut it.

    >>> data = load_data("digits")
    >>> len(data.train), len(data.validation), len(data.test)
    (1297, 145, 355)

    Args:
        spec: Which data, or for all of it a name of the catalogue, a path or a dotted path.
        root: Folder of data sets; see :func:`weightscape.data.catalogue.data_root`.
        device: Where the images are kept.
        download: Fetch missing files first. Nothing is ever fetched otherwise.

    Raises:
        DataError: If the data set does not exist, its files are missing or damaged, or the request leaves a class or a
            split without images.
    """
    device = device_here(device)
    if isinstance(spec, str):
        source_kind(spec)  # says what is wrong with a name before pydantic does
        spec = DataSettings(name=spec)
    if source_kind(spec.name) == "catalogue":
        entry = describe(spec.name)
        if download:
            from weightscape.data.downloads import prepare

            prepare(entry.name, root)
        located = locate(entry, root)
        pieces, lossy = _pieces_of_catalogue(entry, located, spec), lossy_copy(entry, located)
    else:
        from weightscape.data.own import own_data

        own = own_data(spec.name, spec.arguments, size=spec.size, root=root)
        entry, pieces, lossy = own.entry, _cut(own.entry, own.train, own.test, spec), False
    return _dataset(entry, pieces, spec, device, lossy=lossy)


def _pieces_of_catalogue(entry: Entry, located: Located, settings: DataSettings) -> Pieces:
    """Return the splits of a data set of the catalogue; the usual cut is mapped from the cache where it is there.

    Then all processes share one copy in memory, and none copies the training images.
    """
    if located.reader in LISTED:
        return listed_pieces(entry, located, settings)
    if not is_kept(located) or not _is_usual(settings):
        return _cut(entry, *read_official(entry, located), settings)
    refuse_other_data_set(entry, located)
    key = source_key(entry, located)
    kept, official = recall_arrays(f"{key}-cut"), recall_arrays(key)
    if kept and official:
        parts = {part: Official(*(kept[f"{part}-{name}"] for name in _NAMES)) for part in ("train", "validation")}
        return parts | {"test": official_set(official, "test")}
    pieces = _cut(entry, *read_official(entry, located), settings)
    keep_arrays(
        f"{key}-cut",
        {f"{part}-{name}": getattr(pieces[part], name) for part in ("train", "validation") for name in _NAMES},
    )
    return pieces


def _is_usual(settings: DataSettings) -> bool:
    """Return whether the splits are those of the defaults: other cuts would fill the cache with copies."""
    usual = DataSettings(name=settings.name)
    names = ("size", "classes", "fraction", "validation", "split_seed")
    return all(getattr(settings, name) == getattr(usual, name) for name in names)


def _cut(entry: Entry, train: Official, test: Official, settings: DataSettings) -> Pieces:
    check_classes(entry, settings.classes)
    classes = _labels(entry, settings)
    rows, held_out = training_and_validation(
        train.labels, classes, validation=settings.validation, fraction=settings.fraction, seed=settings.split_seed
    )
    cuts = {
        "train": (train, rows),
        "validation": (train, held_out),
        "test": (test, rows_of_classes(test.labels, classes)),
    }
    # index_select copies: the official images are shared by all data sets of the process and stay untouched.
    return {
        part: Official(
            resized(official.images.index_select(0, chosen), settings.size),
            renumbered(official.labels[chosen], classes),
            official.indices[chosen],
        )
        for part, (official, chosen) in cuts.items()
    }


def _labels(entry: Entry, settings: DataSettings) -> tuple[int, ...]:
    return tuple(range(len(entry.classes))) if settings.classes is None else settings.classes


def _dataset(
    entry: Entry, pieces: Pieces, settings: DataSettings, device: str | torch.device, *, lossy: bool
) -> Dataset:
    mean, std = map(torch.tensor, moments(settings.normalise, (entry.mean, entry.std)))
    names = tuple(entry.classes[label] for label in _labels(entry, settings))
    border = entry.border_at(settings.size)
    splits = {
        part: Split(piece.images, piece.labels, piece.indices, mean, std, len(names), border).to(device)
        for part, piece in pieces.items()
    }
    train, validation, test = (splits[part] for part in ("train", "validation", "test"))
    return Dataset(entry.name, train, validation, test, names, settings, lossy)


def resized(images: Tensor, size: int | None, *, chunk: int = 8192) -> Tensor:
    """Return uint8 images ``(n, C, H, W)`` at `size` x `size` pixels, by bilinear interpolation (half-pixel centres).

    Images that shrink are smoothed, as Pillow does.

    Args:
        images: Images of any size.
        size: New height and width; None for their own.
        chunk: Images that are interpolated at a time, which bounds the memory for floats.
    """
    if size is None or images.shape[2:] == (size, size):
        return images
    smaller = size < max(images.shape[2:])
    result = images.new_empty(*images.shape[:2], size, size)
    for start in range(0, len(images), chunk):
        part = images[start : start + chunk].float()
        other = interpolate(part, size=(size, size), mode="bilinear", align_corners=False, antialias=smaller)
        result[start : start + chunk] = other.round_().to(torch.uint8)
    return result
