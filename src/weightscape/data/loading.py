"""From settings to a data set in memory."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from weightscape.data.catalogue import check_classes, describe
from weightscape.data.dataset import Dataset, Split
from weightscape.data.entry import Entry
from weightscape.data.files import locate
from weightscape.data.normalisation import moments
from weightscape.data.official import Official, read_official
from weightscape.data.sources import source_kind
from weightscape.data.specification import DataSettings
from weightscape.data.subsets import renumbered, rows_of_classes, training_and_validation


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
    if isinstance(spec, str):
        source_kind(spec)  # says what is wrong with a name before pydantic does
        spec = DataSettings(name=spec)
    return _cut(spec, *_official(spec, root, download), device)


def _cut(settings: DataSettings, entry: Entry, train: Official, test: Official, device: str | torch.device) -> Dataset:
    check_classes(entry, settings.classes)
    classes = tuple(range(len(entry.classes))) if settings.classes is None else settings.classes
    rows, held_out = training_and_validation(
        train.labels, classes, validation=settings.validation, fraction=settings.fraction, seed=settings.split_seed
    )
    cuts = ((train, rows), (train, held_out), (test, rows_of_classes(test.labels, classes)))
    training, validation, testing = (
        _split(entry, official, chosen, classes, settings).to(device) for official, chosen in cuts
    )
    names = tuple(entry.classes[label] for label in classes)
    return Dataset(entry.name, training, validation, testing, names, settings)


def _official(settings: DataSettings, root: str | Path | None, download: bool) -> tuple[Entry, Official, Official]:
    if source_kind(settings.name) != "catalogue":
        from weightscape.data.own import own_data

        own = own_data(settings.name, settings.arguments, size=settings.size, root=root)
        return own.entry, own.train, own.test
    entry = describe(settings.name)
    if download:
        from weightscape.data.downloads import prepare

        prepare(entry.name, root)
    return entry, *read_official(entry, locate(entry, root))


def _split(entry: Entry, official: Official, rows: Tensor, classes: tuple[int, ...], settings: DataSettings) -> Split:
    # index_select copies: the official images are shared by all data sets of the process and stay untouched.
    mean, std = moments(settings.normalise, (entry.mean, entry.std))
    return Split(
        images=resized(official.images.index_select(0, rows), settings.size),
        labels=renumbered(official.labels[rows], classes),
        indices=official.indices[rows],
        mean=torch.tensor(mean),
        std=torch.tensor(std),
        classes=len(classes),
    )


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
