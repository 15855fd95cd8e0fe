"""Linear CKA of all pairs of layers of two networks from one pass over batches; no activation is kept.

The estimator is that of the measure ``minibatch-cka`` (Nguyen et al. 2020, arXiv 2010.15327). Each layer's Gram matrix
of a batch is made the moment the layer is reached, in one product; all pairs of layers are one product more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from weightscape.batches import Batch, Batches, BatchSource, Forward, as_batches
from weightscape.errors import DataError, ModelError
from weightscape.models.addresses import LayerAddress
from weightscape.models.taps import tapped
from weightscape.similarity.measure import UndefinedMeasure
from weightscape.similarity.memory import MEMORY_LIMIT, check_memory
from weightscape.similarity.passing import NO_LAYER, described_layers
from weightscape.similarity.rows import as_rows
from weightscape.similarity.settings import Form
from weightscape.training.evaluation import device_of
from weightscape.weights.algebra import precise_dtype
from weightscape.weights.modes import evaluation_mode

_LEAST = 4
_LARGE_MEAN = 1e-3
"""Share of the squares that varies below which a Gram matrix is made again from centred activations, in double."""


@dataclass(frozen=True)
class StreamedCkaTable:
    """Linear CKA of layers, streamed over batches.

    Attributes:
        values: CKA of each layer of the first network with each of the second one ``(L1, L2)``, in double precision.
        first_layers: Addresses of the rows.
        second_layers: Addresses of the columns.
        count: Samples seen.
    """

    values: Tensor
    first_layers: tuple[str, ...]
    second_layers: tuple[str, ...]
    count: int


class StreamedProducts:
    """Sums over batches of the inner products of all pairs of layers' matrices."""

    def __init__(self) -> None:
        self.count = 0
        self._cross: Tensor | None = None
        self._squares: list[Tensor] = []

    def add(self, first: Tensor, second: Tensor, *, samples: int) -> None:
        """Add a batch: a vector of each layer's matrix, ``(L1, samples²)`` and ``(L2, samples²)``."""
        weight = 1 / (samples - 3)  # batches count as many times as they have samples
        cross = weight * (first @ second.T)
        squares = [weight * side.square().sum(1) for side in (first, second)]
        self._cross = cross if self._cross is None else self._cross + cross
        self._squares = [
            one + other
            for one, other in zip(self._squares or [torch.zeros_like(one) for one in squares], squares, strict=True)
        ]
        self.count += samples

    def result(self, names: Sequence[Sequence[str]]) -> Tensor:
        """Return CKA of all pairs.

        Args:
            names: Of the layers of both networks, for messages.

        Raises:
            DataError: If there was no batch, or a layer is not finite.
            UndefinedMeasure: If a layer is constant in every batch.
        """
        if self._cross is None:
            raise DataError("Expected at least one batch of inputs, received none.")
        known = [
            (layer, square)
            for squares, layers in zip(self._squares, names, strict=True)
            for square, layer in zip(squares.tolist(), layers, strict=True)
        ]
        if infinite := dict.fromkeys(layer for layer, square in known if not math.isfinite(square)):
            raise DataError(
                f"Expected finite numbers, but activations of {', '.join(infinite)} are NaN or infinite. Leave these "
                "layers out, or look for where the network diverged."
            )
        if dead := dict.fromkeys(layer for layer, square in known if not square > 0):
            raise UndefinedMeasure(
                f"The value is 0/0: in every batch, {', '.join(dead)} is the same for all samples. "
                "Leave these layers out; in a trained network their units are dead."
            )
        one, other = (squares.sqrt() for squares in self._squares)
        return (self._cross / one[:, None] / other).clamp(-1, 1).cpu()


@torch.no_grad()
def streamed_cka(
    first: nn.Module,
    second: nn.Module,
    batches: BatchSource,
    *,
    layers: str | Sequence[str] = "all",
    second_layers: str | Sequence[str] | None = None,
    form: Form = "features",
    batch_size: int = 250,
    forward: Forward | None = None,
    limit: int = MEMORY_LIMIT,
) -> StreamedCkaTable:
    """Return linear CKA of all pairs of layers of two networks, from unbiased estimates averaged over batches.

    Both networks run once on every batch, in evaluation mode, without gradients. Matrices of a batch are products in
    the precision of the activations; everything after is in double precision.

    Args:
        first: A network.
        second: Another one; may be the same.
        batches: A split of a data set, which is cut in its order, or batches in any form
            (:func:`~weightscape.batches.as_batches`). Samples are compared within their batch alone.
        layers: Addresses or patterns of layers (:func:`~weightscape.models.addresses.find_layers`).
        second_layers: Those of the second network; like `layers` by default.
        form: What a sample is: a whole activation, or its mean over the map.
        batch_size: Samples of a batch of a split.
        forward: ``forward(model, batch)`` runs a network; by default it is called with the inputs.
        limit: Bytes that the matrices of a batch may take.

    Raises:
        DataError: If there are no batches, one has fewer than four samples, or the matrices do not fit.
        ModelError: If a layer does not exist or is not called, or it is not clear which call is meant.
        UndefinedMeasure: If a layer is constant in every batch.
    """
    if form == "pixels":
        raise DataError("Matrices of pixels are too large: take the form 'features' or 'pooled', or moments of pixels.")
    given = as_batches(batches, forward=forward, batch_size=batch_size)
    networks, patterns = (first, second), (layers, layers if second_layers is None else second_layers)
    found: list[tuple[str, ...]] = []
    sums = StreamedProducts()
    for batch in given:
        if not batch.count:
            continue
        _check_count(batch)
        if not found:
            found = [tuple(described_layers(*one, given, batch)) for one in zip(networks, patterns, strict=True)]
            if not all(found):
                raise ModelError(NO_LAYER)
            check_memory(8 * batch.count**2 * sum(map(len, found)), limit, f"the matrices of a batch of {batch.count}")
        sums.add(
            *(_vectors(model, names, given, batch, form) for model, names in zip(networks, found, strict=True)),
            samples=batch.count,
        )
    one, other = found or ((), ())
    return StreamedCkaTable(sums.result((one, other)), one, other, sums.count)


def _check_count(batch: Batch) -> None:
    if batch.count < _LEAST:
        raise DataError(
            f"The unbiased estimator needs batches of at least {_LEAST} samples, received one of {batch.count}: leave "
            "out an incomplete last batch (drop_last), or choose a batch size that divides the samples evenly."
        )


def _vectors(model: nn.Module, layers: Sequence[str], given: Batches, batch: Batch, form: Form) -> Tensor:
    """Return a row for each layer, in order."""
    device = device_of(model)
    rows = torch.zeros(len(layers), batch.count**2, dtype=precise_dtype(device), device=device)

    def visit(place: int, value: Tensor) -> None:
        # Whatever overwrites the activation later comes too late: only its inner products are kept.
        rows[place] = unbiased_gram(as_rows(value.detach(), form)).reshape(-1)

    with evaluation_mode(model), ExitStack() as taps:
        for place, layer in enumerate(layers):
            taps.enter_context(tapped(model, LayerAddress.parse(layer), partial(visit, place)))
        given.run(model, batch.to(device))
    return rows


def unbiased_gram(rows: Tensor) -> Tensor:
    """Return inner products of the rows ``(n, n)`` with zeros on the diagonal and in the sums, in double precision.

    ``<A, B> / (n (n − 3))`` of two of them is the unbiased estimator of HSIC (Székely and Rizzo, 2014). They are zero
    for rows that are all the same.
    """
    precise = precise_dtype(rows.device)
    if rows.dtype in {torch.float16, torch.bfloat16}:  # whose products overflow, or have no digits left
        rows = rows.float()
    found = (rows @ rows.mT).to(precise)
    n, whole = len(rows), found.diagonal().sum()
    if not float(whole - found.sum() / n) > _LARGE_MEAN * float(whole):
        exact = rows.to(precise)
        centred = exact - exact.mean(dim=0)
        found = centred @ centred.mT
        if float(found.diagonal().sum()) <= 8 * torch.finfo(precise).eps * float(exact.square().sum()):
            return torch.zeros_like(found)
    found.fill_diagonal_(0)
    sums = found.sum(dim=0) / (n - 2)
    found += sums.sum() / (n - 1) - sums[:, None] - sums[None, :]
    return found.fill_diagonal_(0)
