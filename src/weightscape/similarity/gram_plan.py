"""In how many passes over the samples Gram matrices of layers are computed, so that they fit into the memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from weightscape.batches import BatchSource, Forward, as_batches
from weightscape.errors import DataError
from weightscape.similarity.memory import MEMORY_LIMIT, check_memory, expected_count, in_words
from weightscape.similarity.passing import LayerPatterns, described_layers
from weightscape.similarity.settings import Form
from weightscape.weights.algebra import precise_dtype


@dataclass(frozen=True)
class GramPlan:
    """How the Gram matrices of some layers fit into the memory.

    Attributes:
        count: Number of samples.
        passes: For each pass over the samples the features of each layer that it takes.
        bytes: The most memory that activations of a pass and all matrices take.
    """

    count: int
    passes: tuple[Mapping[str, slice], ...]
    bytes: int

    def __str__(self) -> str:
        often = "1 pass" if len(self.passes) == 1 else f"{len(self.passes)} passes"
        return f"{often} over {self.count:,} samples, {in_words(self.bytes)} of memory"


def plan_grams(
    model: nn.Module,
    batches: BatchSource,
    layers: LayerPatterns,
    *,
    form: Form = "features",
    forward: Forward | None = None,
    dtype: torch.dtype | None = None,
    limit: int = MEMORY_LIMIT,
) -> GramPlan:
    """Return how :func:`~weightscape.similarity.grams.grams` would go about it, from the shapes of the first batch.

    The matrices of all layers stay in memory. As many layers are taken in a pass as fit beside them; a layer that is
    too large by itself is taken in several passes, some of its features at a time.

    Raises:
        DataError: If there are no batches, or the matrices alone need more memory than the limit.
        ModelError: If a layer does not exist or is not called.
    """
    given = as_batches(batches, forward=forward, passes="equal")
    first = next((batch for batch in given if batch.count), None)
    if first is None:
        raise DataError("Expected at least one batch of inputs, received none.")
    count = expected_count(given)
    count = sum(batch.count for batch in given) if count is None else count
    sizes = {layer: place.rows(form) for layer, place in described_layers(model, layers, given, first).items()}
    if not sizes:
        raise DataError("Expected at least one layer, received none.")
    size = (dtype or precise_dtype("cpu")).itemsize
    matrices = sum((count * rows) ** 2 * size for rows, _, _ in sizes.values())
    check_memory(matrices, limit, f"the Gram matrices of {len(sizes)} layers on {count:,} samples")
    needs = {layer: (width, count * rows * width * itemsize) for layer, (rows, width, itemsize) in sizes.items()}
    passes, most = _packed(needs, max(limit - matrices, 1))
    return GramPlan(count, passes, matrices + most)


def _packed(needs: Mapping[str, tuple[int, int]], room: int) -> tuple[tuple[Mapping[str, slice], ...], int]:
    """Divide layers of so many features and bytes into passes that take at most `room` bytes, and return the most."""
    passes: list[dict[str, slice]] = []
    taken: list[int] = []
    for layer, (width, need) in needs.items():
        parts = min(width, -(-need // room))
        step = -(-width // parts)
        for start in range(0, width, step):
            part = need * (min(start + step, width) - start) // width
            if not passes or layer in passes[-1] or taken[-1] + part > room:
                passes.append({})
                taken.append(0)
            passes[-1][layer] = slice(start, min(start + step, width))
            taken[-1] += part
    return tuple(passes), max(taken)
