"""The activations of networks at named layers, one matrix per layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, overload

import torch
from torch import Tensor, nn

from weightscape.batches import BatchSource, Forward
from weightscape.similarity.memory import MEMORY_LIMIT, check_memory, expected_count
from weightscape.similarity.passing import LayerPatterns, passing
from weightscape.similarity.rows import as_rows
from weightscape.similarity.settings import Form

Captured: TypeAlias = dict[str, Tensor]
"""Activations ``(rows, d)`` by address, on the CPU."""


@overload
def capture(
    model: nn.Module,
    batches: BatchSource,
    layers: LayerPatterns,
    *,
    form: Form = ...,
    forward: Forward | None = ...,
    device: str | torch.device | None = ...,
    limit: int = ...,
) -> Captured: ...


@overload
def capture(
    model: Sequence[nn.Module],
    batches: BatchSource,
    layers: LayerPatterns,
    *,
    form: Form = ...,
    forward: Forward | None = ...,
    device: str | torch.device | None = ...,
    limit: int = ...,
) -> list[Captured]: ...


def capture(
    model: nn.Module | Sequence[nn.Module],
    batches: BatchSource,
    layers: LayerPatterns,
    *,
    form: Form = "features",
    forward: Forward | None = None,
    device: str | torch.device | None = None,
    limit: int = MEMORY_LIMIT,
) -> Captured | list[Captured]:
    """Return the activations of a network at layers, a matrix each, whose rows follow the order of the batches.

    In evaluation mode, without gradients; modes and hooks are restored whatever happens. What all activations will take
    is estimated from the first batch, before anything is kept.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    >>> [found.shape for found in capture(model, [torch.randn(5, 3, 8, 8)], "*", form="pixels").values()]
    [torch.Size([180, 4]), torch.Size([180, 4])]

    Args:
        model: The network; or several, which see each batch before the next is read.
        batches: Batches with inputs, in any form (:func:`~weightscape.batches.as_batches`), in a fixed order.
        layers: Addresses or patterns of layers (:func:`~weightscape.models.addresses.find_layers`), of each network.
        form: What a row is (:func:`~weightscape.similarity.rows.as_rows`).
        forward: ``forward(model, batch)`` runs a network; by default it is called with the inputs.
        device: Where to run a copy of the network; by default it runs itself, where it is.
        limit: Bytes that the result may take, 8 GiB by default.

    Returns:
        The activations by address, in the order in which they are reached, on the CPU; for several networks a list.

    Raises:
        DataError: If there are no batches, they are shuffled, or the activations need more memory than the limit.
        ModelError: If a layer does not exist or is not called, or it is not clear which call is meant.
    """
    models = [model] if isinstance(model, nn.Module) else list(model)
    wanted = [layers] * len(models)
    steps = passing(models, batches, wanted, forward=forward, device=device, order="fixed", limit=limit)
    kept: list[dict[str, list[Tensor]]] = [{} for _ in models]
    taken = 0
    for number, step in enumerate(steps):
        rows = [{layer: as_rows(one, form) for layer, one in side.items()} for side in step.activations]
        coming = sum(one.numel() * one.element_size() for side in rows for one in side.values())
        if not number and (count := expected_count(batches)) is not None:
            check_memory(coming * count // step.batch.count, limit, f"the activations of {count:,} samples")
        taken += coming
        check_memory(taken, limit, "the activations of the samples so far")
        for side, blocks in zip(rows, kept, strict=True):
            for layer, one in side.items():
                blocks.setdefault(layer, []).append(one.cpu())
    # Each layer's blocks are given up before the next layer is joined.
    found = [{layer: torch.cat(blocks.pop(layer)) for layer in list(blocks)} for blocks in kept]
    return found[0] if isinstance(model, nn.Module) else found
