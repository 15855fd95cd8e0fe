"""Joint moments of all pairs of layers of two networks, with those of shuffled pairs beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor

from weightscape.seeds import stream
from weightscape.similarity.moments import Moments, StreamedMoments
from weightscape.similarity.rows import as_rows
from weightscape.similarity.settings import Form

Place = tuple[int, int]
"""Positions of a layer of the first and of the second network."""
_MOST_UNITS = 6000
"""Units of both layers together beyond which their moments take more than half a gigabyte."""


@dataclass
class PairMoments:
    """Joint moments of the layers of two networks.

    Attributes:
        found: Moments by place.
        nulls: Moments of shuffled pairs by place.
        refused: Why there are none, by place.
    """

    found: dict[Place, Moments] = field(default_factory=dict)
    nulls: dict[Place, list[Moments]] = field(default_factory=dict)
    refused: dict[Place, str] = field(default_factory=dict)


class StreamedPairMoments:
    """Streams the joint moments of all pairs of layers of two networks.

    Args:
        form: What a sample is.
        shuffles: Shuffles of the pairs of samples within each batch.
        seed: Draws them.
    """

    def __init__(self, form: Form, *, shuffles: int, seed: int) -> None:
        self._form, self._shuffles, self._seed = form, shuffles, seed
        self._sums: dict[Place, StreamedMoments] = {}
        self._nulls: dict[Place, list[StreamedMoments]] = {}
        self._refused: dict[Place, str] = {}

    def add(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor], number: int) -> None:
        """Add the activations ``(n, ...)`` of both networks by address; `number` is that of the batch."""
        one, other = ([_shaped(raw, self._form) for raw in side.values()] for side in (first, second))
        names = list(product(first, second))
        orders = self._orders(len(one[0]), number)
        for place, (layer, partner) in zip(product(range(len(one)), range(len(other))), names, strict=True):
            if place not in self._refused and (reason := _obstacle(one[place[0]], other[place[1]], layer, partner)):
                self._refused[place] = reason
            if place in self._refused:
                continue
            self._sums.setdefault(place, StreamedMoments()).add(one[place[0]], other[place[1]])
            shuffled = self._nulls.setdefault(place, [StreamedMoments() for _ in orders])
            for order, streamed in zip(orders, shuffled, strict=True):
                streamed.add(one[place[0]], other[place[1]][order])

    def _orders(self, count: int, number: int) -> list[Tensor]:
        drawn = (stream(self._seed, "subset", "null", index, number) for index in range(self._shuffles))
        return [torch.randperm(count, generator=generator) for generator in drawn]

    def result(self) -> PairMoments:
        """Return the moments of all that was added."""
        found = {place: streamed.result() for place, streamed in self._sums.items()}
        nulls = {place: [one.result() for one in several] for place, several in self._nulls.items()}
        return PairMoments(found, nulls, self._refused)


def _shaped(raw: Tensor, form: Form) -> Tensor:
    """Return maps as they are where each pixel is a sample, else rows."""
    return raw if form == "pixels" else as_rows(raw, form)


def _obstacle(first: Tensor, second: Tensor, layer: str, partner: str) -> str:
    """Return why two layers have no joint moments; empty where they have."""
    if first.shape[2:] != second.shape[2:]:
        shapes = " and ".join("x".join(map(str, one.shape[1:])) for one in (first, second))
        return (
            f"The maps of {layer} and {partner} are {shapes}: their pixels do not correspond. Take form pooled, or a "
            "measure of images such as linear-cka-debiased."
        )
    units = first.shape[1] + second.shape[1]
    if units > _MOST_UNITS:
        return (
            f"The rows of {layer} and {partner} have {units:,} units together, too many for a measure of channels. "
            "Take form pixels or pooled."
        )
    return ""
