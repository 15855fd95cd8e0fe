"""What the two frozen networks make of a split: computed once and kept where it fits, else batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from weightscape.errors import Interrupted
from weightscape.seeds import stream
from weightscape.stitching.pair import Features, Pair, Wanted

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset, Split

BATCH = 250
"""Images of a pass that keeps what it finds; always the same, so that the numbers are."""


class Source(Protocol):
    """Gives what the networks make of a split, with the labels under the name ``labels``."""

    def epoch(self, batch_size: int, *, seed: int, epoch: int) -> Iterator[Features]:
        """Yield the full batches of an epoch in its random order."""

    def in_order(self) -> Iterator[Features]:
        """Yield all images in order."""


class CachedFeatures:
    """Features of all images of a split, kept on the device; images are not augmented.

    Args:
        pair: The networks.
        split: The images.
        wanted: What to keep.
        should_stop: Asked before each batch.

    Raises:
        Interrupted: If `should_stop` said so.
    """

    def __init__(
        self, pair: Pair, split: Split, wanted: Wanted, *, should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._count = len(split)
        self._kept: Features = {"labels": split.labels.to(pair.device)}
        for number, (images, _) in enumerate(split.batches(BATCH)):
            if should_stop():
                raise Interrupted("The first pass over the images was stopped; the same command makes it again.")
            self._keep(pair.features(images, wanted), number * BATCH)

    def _keep(self, found: Features, start: int) -> None:
        for name, value in found.items():
            value = _pixels_first(value)
            if name not in self._kept:
                self._kept[name] = value.new_empty((self._count, *value.shape[1:]))
            self._kept[name][start : start + len(value)] = value

    def epoch(self, batch_size: int, *, seed: int, epoch: int) -> Iterator[Features]:
        """Yield the full batches of an epoch in the order of :meth:`~weightscape.data.dataset.Split.epoch`."""
        order = torch.randperm(self._count, generator=stream(seed, "order", epoch)).to(self._kept["labels"].device)
        for start in range(0, self._count - batch_size + 1, batch_size):
            rows = order[start : start + batch_size]
            yield {name: _channels_first(name, value.index_select(0, rows)) for name, value in self._kept.items()}

    def in_order(self) -> Iterator[Features]:
        """Yield all images in order."""
        for start in range(0, self._count, BATCH):
            rows = slice(start, start + BATCH)
            yield {name: _channels_first(name, value[rows]) for name, value in self._kept.items()}

    def only(self, wanted: Wanted) -> CachedFeatures:
        """Return a view of some of the features."""
        view = object.__new__(CachedFeatures)
        view._count = self._count
        view._kept = {name: value for name, value in self._kept.items() if name == "labels" or wanted.has(name)}
        return view

    def all(self) -> Features:
        """Return the features of all images as one batch."""
        return {name: _channels_first(name, value) for name, value in self._kept.items()}


class ComputedFeatures:
    """Features of the images of a split, computed for every batch; both networks see the same augmented images."""

    def __init__(self, pair: Pair, dataset: Dataset, split: Split, wanted: Wanted) -> None:
        self._pair, self._split, self._wanted = pair, split, wanted
        self._augment = dataset.settings.augment

    def epoch(self, batch_size: int, *, seed: int, epoch: int) -> Iterator[Features]:
        """Yield the full batches of an epoch in its random order, augmented."""
        batches = self._split.epoch(batch_size, seed=seed, epoch=epoch, augment=self._augment)
        for images, labels in batches:
            if len(labels) == batch_size:
                yield self._features(images, labels)

    def in_order(self) -> Iterator[Features]:
        """Yield all images in order, without augmentation."""
        for images, labels in self._split.batches(BATCH):
            yield self._features(images, labels)

    def _features(self, images: Tensor, labels: Tensor) -> Features:
        return {"labels": labels.to(self._pair.device), **self._pair.features(images, self._wanted)}


def _pixels_first(value: Tensor) -> Tensor:
    """Return maps ``(b, c, h, w)`` as ``(b, h, w, c)``, so that an image kept is one stretch of memory."""
    return value.permute(0, 2, 3, 1) if value.ndim == 4 else value


def _channels_first(name: str, value: Tensor) -> Tensor:
    return value.permute(0, 3, 1, 2) if value.ndim == 4 and name != "labels" else value


def is_augmented(dataset: Dataset) -> bool:
    """Return whether training batches of a data set are augmented."""
    return dataset.settings.augment not in {"none", ()}


def memory_limit(device: torch.device) -> int:
    """Return the bytes that kept features may take: a fixed rule, no look at what is free at the moment.

    A third of the memory of a GPU; on a CPU half of the machine's, times the share of its cores that this process uses,
    so that several processes side by side have enough.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory) // 3
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(total / 2 * min(1.0, torch.get_num_threads() / (os.cpu_count() or 1)))


@dataclass(frozen=True)
class Site:
    """Where stitches go from one network to the other."""

    front_layer: str
    back_layer: str


@dataclass(frozen=True)
class Pass:
    """Sites whose features are kept at the same time, or computed batch by batch.

    Attributes:
        sites: The sites, in the order in which they were asked for.
        cached: Whether the features of the training split are kept.
    """

    sites: tuple[Site, ...]
    cached: bool


def plan_passes(needs: Mapping[Site, int], *, limit: int, augmented: bool) -> list[Pass]:
    """Divide sites into as few passes over the data as memory allows, in their order.

    Whether the features of a site are kept depends on that site alone, so that a stitch is trained in the same way
    whatever others are trained beside it.

    Args:
        needs: Bytes of the features of each site.
        limit: Bytes that all features kept at a time may take.
        augmented: Whether nothing can be kept because every epoch has other images.
    """
    large = tuple(site for site, size in needs.items() if augmented or size > limit)
    passes: list[Pass] = []
    group: list[Site] = []
    for site, size in needs.items():
        if site in large:
            continue
        if group and sum(needs[one] for one in group) + size > limit:
            passes.append(Pass(tuple(group), cached=True))
            group = []
        group.append(site)
    if group:
        passes.append(Pass(tuple(group), cached=True))
    return [*passes, Pass(large, cached=False)] if large else passes


def bytes_of(features: Features) -> int:
    """Return the bytes of one image among the features of a batch."""
    return sum(value[0].numel() * value.element_size() for value in features.values())
