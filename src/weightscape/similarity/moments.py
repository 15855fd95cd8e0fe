"""First and second moments of two layers' activations, from one joint pass of both networks over the samples.

Channel-level measures, correlations, least squares and every other direct matching follow from them, and no activation
is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightscape.batches import BatchSource, Forward
from weightscape.errors import DataError
from weightscape.similarity.passing import passing
from weightscape.similarity.rows import as_rows
from weightscape.similarity.settings import Form
from weightscape.weights.algebra import precise_dtype

LayerPair = tuple[str, str]
_CHUNK = 1 << 18
"""Entries of the two layers that are converted to double precision at a time: 2 MB, which a core's cache holds."""


@dataclass(frozen=True)
class Moments:
    """Sums over samples x of a first layer and y of a second one, in double precision.

    Attributes:
        count: Number of samples m.
        first_mean: Mean of x ``(C1,)``.
        second_mean: Mean of y ``(C2,)``.
        first: Sum of ``(x - mean)(x - mean)'``, ``(C1, C1)``, not divided by the count.
        second: The same of y, ``(C2, C2)``.
        cross: Sum of ``(x - mean)(y - mean)'``, ``(C1, C2)``.
    """

    count: int
    first_mean: Tensor
    second_mean: Tensor
    first: Tensor
    second: Tensor
    cross: Tensor

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both sets of samples together (Chan, Golub and LeVeque, 1979).

        Raises:
            DataError: If the layers have other numbers of channels.
        """
        if self.cross.shape != other.cross.shape:
            raise DataError(
                f"Expected moments of layers of {' and '.join(map(str, self.cross.shape))} channels, received "
                f"{' and '.join(map(str, other.cross.shape))}."
            )
        count = self.count + other.count
        share = other.count / count
        apart = [other.first_mean - self.first_mean, other.second_mean - self.second_mean]
        weight = self.count * share
        return Moments(
            count=count,
            first_mean=self.first_mean + share * apart[0],
            second_mean=self.second_mean + share * apart[1],
            first=self.first + other.first + weight * torch.outer(apart[0], apart[0]),
            second=self.second + other.second + weight * torch.outer(apart[1], apart[1]),
            cross=self.cross + other.cross + weight * torch.outer(apart[0], apart[1]),
        )

    def transposed(self) -> Moments:
        """Return the moments with the two layers exchanged."""
        return Moments(self.count, self.second_mean, self.first_mean, self.second, self.first, self.cross.mT)


class StreamedMoments:
    """Moments of samples that come batch after batch.

    Each batch is centred at its own mean and merged with those before it, so that neither a large mean nor the order of
    the batches costs digits.
    """

    def __init__(self) -> None:
        self._count = 0
        self._channels = (0, 0)

    def add(self, first: Tensor, second: Tensor) -> None:
        """Add equally many samples of both layers.

        Args:
            first: Rows ``(m, C1)``, or maps ``(n, C1, ...)`` of which every pixel is a sample.
            second: Rows ``(m, C2)``, or maps with as many pixels.

        Raises:
            DataError: If there are none or not equally many, or the channels are not those of the samples before.
        """
        _check_pair(first, second)
        channels = first.shape[1], second.shape[1]
        if not self._count:
            self._channels = channels
            size, dtype = sum(channels), precise_dtype(first.device)
            self._mean = torch.zeros(size, dtype=dtype, device=first.device)
            self._products = torch.zeros(size, size, dtype=dtype, device=first.device)
        elif channels != self._channels:
            raise DataError(
                f"Expected activations of {self._channels[0]} and {self._channels[1]} channels, as before, received "
                f"{channels[0]} and {channels[1]}."
            )
        with torch.no_grad():
            for columns in _chunks(first, second):
                self._merge(columns)

    def _merge(self, columns: Tensor) -> None:
        """Centre samples ``(C1 + C2, m)`` at their own mean and add their sums; `columns` is written over."""
        here = columns.shape[1]
        mean = columns.mean(dim=1)
        columns -= mean[:, None]
        self._products.addmm_(columns, columns.mT)
        apart = mean - self._mean
        share = here / (self._count + here)
        self._products.addr_(apart, apart, alpha=self._count * share)
        self._mean.add_(apart, alpha=share)
        self._count += here

    def result(self) -> Moments:
        """Return the moments of all samples so far.

        Raises:
            DataError: If there are none.
        """
        if not self._count:
            raise DataError("Expected at least one batch of activations, received none.")
        cut = self._channels[0]
        return Moments(
            count=self._count,
            first_mean=self._mean[:cut].clone(),
            second_mean=self._mean[cut:].clone(),
            first=self._products[:cut, :cut].clone(),
            second=self._products[cut:, cut:].clone(),
            cross=self._products[:cut, cut:].clone(),
        )


@torch.no_grad()
def joint_moments(
    front: nn.Module,
    back: nn.Module,
    batches: BatchSource,
    *,
    pairs: Sequence[LayerPair],
    form: Form = "pixels",
    forward: Forward | None = None,
) -> dict[LayerPair, Moments]:
    """Return the moments of pairs of layers of two networks, which both run once on every batch.

    Args:
        front: Network of the first layers, in whatever mode; it is run in evaluation mode.
        back: Network of the second layers; may be the same.
        batches: Batches with inputs, in any form (:func:`~weightscape.batches.as_batches`). Read once: both networks
            see each batch before the next is read, so that their order does not matter.
        pairs: Addresses of layers, the front's first.
        form: What a sample is: a pixel of a map, a whole activation, or the mean over the map.
        forward: ``forward(model, batch)`` runs a network; by default it is called with the inputs.

    Raises:
        DataError: If there are no batches, or two layers of a pair do not have equally many samples.
        ModelError: If a layer does not exist or is not called, or it is not clear which call is meant.
    """
    sums = {pair: StreamedMoments() for pair in pairs}
    layers = [list(dict.fromkeys(pair[side] for pair in pairs)) for side in (0, 1)]
    for step in passing([front, back], batches, layers, forward=forward):
        for pair, streamed in sums.items():
            first, second = (step.activations[side][pair[side]] for side in (0, 1))
            _check_maps(pair, first, second, form)
            streamed.add(*(one if form == "pixels" else as_rows(one, form) for one in (first, second)))
    if not sums:
        return {}
    return {pair: streamed.result() for pair, streamed in sums.items()}


def _check_maps(pair: LayerPair, first: Tensor, second: Tensor, form: Form) -> None:
    if form == "pixels" and _pixels(first) != _pixels(second):
        raise DataError(
            f"The activations at {pair[0]} and {pair[1]} have shapes {tuple(first.shape[1:])} and "
            f"{tuple(second.shape[1:])} (without the batch), so that their pixels do not correspond. Take layers with "
            "maps of one size, or form 'pooled' or 'features'."
        )


def _pixels(activation: Tensor) -> int:
    return activation.shape[2:].numel()


def _check_pair(first: Tensor, second: Tensor) -> None:
    counts = [len(one) * _pixels(one) for one in (first, second)]
    if counts[0] != counts[1] or not counts[0]:
        raise DataError(
            f"Expected equally many samples of both layers, received {counts[0]} and {counts[1]} (activations of "
            f"shapes {tuple(first.shape)} and {tuple(second.shape)})."
        )


def _chunks(first: Tensor, second: Tensor) -> Iterator[Tensor]:
    """Yield the samples of both layers as columns ``(C1 + C2, m)`` in double precision, a cache full at a time."""
    if len(first) != len(second):  # rows of one layer, maps of the other
        first, second = (as_rows(one, "pixels") for one in (first, second))
    channels = first.shape[1] + second.shape[1]
    # Wide layers in longer chunks, so that the product of the samples outweighs the update of the sums.
    entries = max(_CHUNK, channels**2)
    size = max(1, entries * len(first) // (first.numel() + second.numel()))
    for start in range(0, len(first), size):
        parts = [one[start : start + size] for one in (first, second)]
        rows = len(parts[0]) * _pixels(parts[0])
        joined = torch.empty(channels, rows, dtype=precise_dtype(first.device), device=first.device)
        _write_columns(joined[: first.shape[1]], parts[0])
        _write_columns(joined[first.shape[1] :], parts[1])
        yield joined


def _write_columns(columns: Tensor, activation: Tensor) -> None:
    """Write an activation into columns ``(C, m)``; each map is read in the order in which it lies in memory."""
    if activation.ndim > 2 and activation.is_contiguous():
        by_channel = activation.transpose(0, 1)
        columns.view(by_channel.shape).copy_(by_channel)
    else:
        columns.copy_(as_rows(activation, "pixels").mT)
