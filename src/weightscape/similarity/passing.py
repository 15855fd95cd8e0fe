"""Run several networks on the same batches, and look at named layers of each.

Hooks are removed and modes restored whatever happens, also between two batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from weightscape.batches import Batch, Batches, BatchSource, Forward, as_batches
from weightscape.errors import DataError, ModelError
from weightscape.models.addresses import choose, places
from weightscape.models.taps import tensor_or_none
from weightscape.repeatable import Cuttable
from weightscape.similarity.memory import MEMORY_LIMIT, check_memory, head_of
from weightscape.similarity.rows import width_of
from weightscape.similarity.settings import Form
from weightscape.similarity.watching import Watcher
from weightscape.training.layout import private_copy
from weightscape.weights.modes import evaluation_mode

LayerPatterns: TypeAlias = str | Sequence[str]
Order: TypeAlias = Literal["fixed", "any"]
_STEP_BYTES = 1 << 30
"""Bytes of activations that a batch cut from a split may have."""
_BATCH = 512
NO_LAYER = (
    "Expected at least one layer, received none. Name layers or a pattern such as 'bn*'; a network that is a single "
    "module has none inside it: write nn.Sequential(module)."
)


@dataclass(frozen=True)
class Passed:
    """What networks make of one batch.

    Attributes:
        batch: The batch, with targets, as it was read.
        activations: For each network its activations by address, raw: ``(n, C, H, W)`` or ``(n, d)``.
        outputs: For each network what it returned: a tensor, the logits of a dictionary; None where there is none.
    """

    batch: Batch
    activations: tuple[dict[str, Tensor], ...]
    outputs: tuple[Tensor | None, ...]


def passing(
    models: Sequence[nn.Module],
    batches: BatchSource,
    layers: Sequence[LayerPatterns],
    *,
    forward: Forward | None = None,
    device: str | torch.device | None = None,
    order: Order = "any",
    limit: int = MEMORY_LIMIT,
) -> Iterator[Passed]:
    """Run several networks on the same batches, one after the other, and yield what they make of each batch.

    In evaluation mode, without gradients. Each network runs once on every batch, which serves all layers. A split is
    cut into batches whose activations take at most 1 GiB.

    Args:
        models: The networks; the same one may be there twice.
        batches: Batches with inputs, in any form (:func:`~weightscape.batches.as_batches`).
        layers: For each network addresses or patterns of layers (:func:`~weightscape.models.addresses.find_layers`).
        forward: ``forward(model, batch)`` runs a network; by default it is called with the inputs.
        device: Where to run copies of the networks, in their fast memory layout; by default the networks themselves
            run where they are.
        order: Whether batches must come in ``fixed`` order, so that a shuffled loader is refused.
        limit: Bytes that the activations of a batch may take.

    Raises:
        DataError: If there are no batches, they are shuffled though the order matters, or a batch needs more memory.
        ModelError: If a layer does not exist or is not called, or it is not clear which call is meant.
    """
    runs = list(models) if device is None else [private_copy(model, device) for model in models]
    given = as_batches(batches, forward=forward, passes="equal" if order == "fixed" else "one")
    found: list[tuple[str, ...]] | None = None
    for batch in _cut(runs, given, layers):
        if not batch.count:  # has nothing to show, and no activation a shape to tell
            continue
        if found is None:
            described = [described_layers(*one, given, batch) for one in zip(runs, layers, strict=True)]
            check_memory(
                batch.count * sum(place.bytes for one in described for place in one.values()),
                limit,
                f"a batch of {batch.count}",
            )
            found = [tuple(one) for one in described]
        sides = [_run(model, names, given, batch) for model, names in zip(runs, found, strict=True)]
        yield Passed(batch, tuple(side[0] for side in sides), tuple(side[1] for side in sides))
    if found is None:
        raise DataError("Expected at least one batch of inputs, received none.")


def _cut(models: list[nn.Module], given: Batches, layers: Sequence[LayerPatterns]) -> Batches:
    """Cut a split into batches whose activations fit; leave other batches as they are."""
    if not isinstance(given.source, Cuttable):
        return given
    first = next(iter(as_batches(given, batch_size=2)), None)
    if first is None:
        return given
    described = [described_layers(*one, given, first) for one in zip(models, layers, strict=True)]
    needed = sum(place.bytes for one in described for place in one.values())
    return as_batches(given, batch_size=max(1, min(_BATCH, _STEP_BYTES // max(1, needed))))


@dataclass(frozen=True)
class Described:
    """The activation of one sample at a layer.

    Attributes:
        shape: Its shape.
        itemsize: Bytes of a number.
    """

    shape: tuple[int, ...]
    itemsize: int

    @property
    def bytes(self) -> int:
        """Its bytes."""
        return prod(self.shape) * self.itemsize

    def rows(self, form: Form) -> tuple[int, int, int]:
        """Return the number of rows that it becomes, their width, and the bytes of a number.

        Args:
            form: What a row is (:func:`~weightscape.similarity.rows.as_rows`).
        """
        pixels = prod(self.shape[1:])
        return pixels if form == "pixels" else 1, width_of(self.shape, form), self.itemsize


def described_layers(model: nn.Module, patterns: LayerPatterns, given: Batches, batch: Batch) -> dict[str, Described]:
    """Return what a sample has at the layers that patterns stand for, in the order in which they are reached.

    Args:
        model: The network.
        patterns: Addresses or patterns of layers.
        given: Says how the network is called.
        batch: A batch, of which two samples are shown to the network.

    Raises:
        ModelError: If a layer does not exist or is not called, it is not clear which call is meant, or it passes on
            something else than a vector or a map for each sample.
    """
    if not patterns:
        return {}
    head = head_of(batch, 2).to(_device(model))
    there = places(model, lambda: given.run(model, head))
    names = {str(address): place for address, place in there.items()}
    found = {layer: names[layer] for layer in choose(model, there, patterns)}
    for layer, place in found.items():
        if len(place.shape) < 2 or place.shape[0] != head.count:
            raise ModelError(
                f"Expected at {layer} a vector or a map for each of {head.count} samples, received a tensor of shape "
                f"{place.shape}. Take another layer."
            )
    return {layer: Described(place.shape[1:], place.bytes // prod(place.shape)) for layer, place in found.items()}


def _run(
    model: nn.Module, layers: Sequence[str], given: Batches, batch: Batch
) -> tuple[dict[str, Tensor], Tensor | None]:
    found: dict[str, Tensor] = {}
    with ExitStack() as stack:
        Watcher(model, layers, found).attach(stack)
        stack.enter_context(evaluation_mode(model))
        stack.enter_context(torch.no_grad())
        outputs = tensor_or_none(given.run(model, batch.to(_device(model))))
    return {layer: found[layer] for layer in layers}, outputs


def _device(model: nn.Module) -> torch.device | None:
    return next((tensor.device for tensor in chain(model.parameters(), model.buffers())), None)
