"""From settings to a data set in memory."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from weightscape.data.catalogue import describe, shape_and_classes
from weightscape.data.dataset import Dataset, Split
from weightscape.data.entries import Entry
from weightscape.data.files import locate
from weightscape.data.official import Official, read_official
from weightscape.data.specification import DataSettings
from weightscape.data.subsets import renumbered, rows_of_classes, training_and_validation


def load_data(
    spec: DataSettings | str,
    *,
    root: str | Path | None = None,
    device: str | torch.device = "cpu",
    download: bool = False,
) -> Dataset:
    """Load a data set of the catalogue into memory and cut it.

    >>> data = load_data("digits")
    >>> len(data.train), len(data.validation), len(data.test)
    (1297, 145, 355)

    Args:
        spec: Which data, or a name of the catalogue for all of it.
        root: Folder of data sets; see :func:`weightscape.data.catalogue.data_root`.
        device: Where the images are kept.
        download: Fetch missing files first. Nothing is ever fetched otherwise.

    Raises:
        DataError: If the data set does not exist, its files are missing or damaged, or the request leaves a class or a
            split without images.
    """
    settings = DataSettings(name=describe(spec).name) if isinstance(spec, str) else spec
    entry = describe(settings.name)
    shape, _ = shape_and_classes(settings)
    if download:
        from weightscape.data.downloads import prepare

        prepare(entry.name, root)
    train, test = read_official(entry, locate(entry, root))
    classes = tuple(range(len(entry.classes))) if settings.classes is None else settings.classes
    rows, held_out = training_and_validation(
        train.labels, classes, validation=settings.validation, fraction=settings.fraction, seed=settings.split_seed
    )
    cuts = ((train, rows), (train, held_out), (test, rows_of_classes(test.labels, classes)))
    training, validation, testing = (
        _split(entry, official, chosen, classes, shape[1]).to(device) for official, chosen in cuts
    )
    names = tuple(entry.classes[label] for label in classes)
    return Dataset(entry.name, training, validation, testing, names, settings)


def _split(entry: Entry, official: Official, rows: Tensor, classes: tuple[int, ...], size: int) -> Split:
    # index_select copies: the official images are shared by all data sets of the process and stay untouched.
    return Split(
        images=enlarged(official.images.index_select(0, rows), size),
        labels=renumbered(official.labels[rows], classes),
        indices=official.indices[rows],
        mean=torch.tensor(entry.mean),
        std=torch.tensor(entry.std),
    )


def enlarged(images: Tensor, size: int, *, chunk: int = 8192) -> Tensor:
    """Return uint8 images ``(n, C, H, W)`` at `size` x `size` pixels, by bilinear interpolation (half-pixel centres).

    Args:
        images: Images that are not larger than `size`.
        size: New height and width.
        chunk: Images that are interpolated at a time, which bounds the memory for floats.
    """
    if images.shape[2:] == (size, size):
        return images
    result = images.new_empty(*images.shape[:2], size, size)
    for start in range(0, len(images), chunk):
        part = images[start : start + chunk].float()
        larger = interpolate(part, size=(size, size), mode="bilinear", align_corners=False)
        result[start : start + chunk] = larger.round_().to(torch.uint8)
    return result
