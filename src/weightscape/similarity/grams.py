"""Gram matrices: the inner products of a layer's responses to all pairs of samples of a fixed probe set.

Every measure of whole representations that no rotation of the units changes follows from them, so that networks and
layers can be compared later, in all pairs, without another forward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightscape.batches import BatchSource, Forward, as_batches
from weightscape.errors import DataError
from weightscape.similarity.gram_plan import plan_grams
from weightscape.similarity.memory import MEMORY_LIMIT, check_memory
from weightscape.similarity.passing import LayerPatterns, passing
from weightscape.similarity.probe import InputHash
from weightscape.similarity.rows import as_rows
from weightscape.similarity.settings import Form
from weightscape.weights.algebra import Weights, precise_dtype

_STRIPE = 2048
"""Features that are converted to the precise type at a time."""
_TILE = 256
"""Rows of a tile of the lower triangle, the half that is computed."""
_PARTS = ("matrix", "row_means", "width", "fingerprint")


@dataclass(frozen=True)
class Gram:
    """The inner products of the rows of a layer's activation matrix X ``(N, d)``, not centred.

    Attributes:
        matrix: ``X X'``, ``(N, N)``, exactly symmetric.
        row_means: Mean of each row of the matrix ``(N,)``.
        width: Number of features d.
        fingerprint: Hash of the inputs and their order.
        layer: Address of the layer.
    """

    matrix: Tensor
    row_means: Tensor
    width: int
    fingerprint: str
    layer: str


class StreamedGrams:
    """Gram matrices of layers whose activations come batch after batch, in the order of the probe set.

    Args:
        layers: Addresses of the layers.
        form: What a row is (:func:`~weightscape.similarity.rows.as_rows`).
        dtype: Type of the products and of their sums; float64 by default, where the device has it.
        limit: Bytes that the activations of all layers may take until :meth:`result`.
        features: The features that count, of layers of which only some do.
    """

    def __init__(
        self,
        layers: Sequence[str],
        form: Form = "features",
        *,
        dtype: torch.dtype | None = None,
        limit: int = MEMORY_LIMIT,
        features: Mapping[str, slice] | None = None,
    ) -> None:
        self._form, self._dtype, self._limit = form, dtype, limit
        self._features = dict(features or {})
        self._blocks: dict[str, list[Tensor]] = {layer: [] for layer in layers}
        self._bytes = 0

    def add(self, activations: Mapping[str, Tensor]) -> None:
        """Add the activations of a batch, by address; those of other layers are passed over.

        Raises:
            DataError: If they need more memory than the limit.
        """
        for layer, blocks in self._blocks.items():
            rows = as_rows(activations[layer], self._form)
            if layer in self._features:
                rows = rows[:, self._features[layer]].contiguous()
            self._bytes += rows.numel() * rows.element_size()
            check_memory(self._bytes, self._limit, "the activations of the samples so far")
            blocks.append(rows.detach())

    def result(self, *, fingerprint: str = "") -> dict[str, Gram]:
        """Return the Gram matrices by address; the activations are given up one layer after the other.

        Args:
            fingerprint: Hash of the inputs and their order.

        Raises:
            DataError: If there are no samples.
        """
        found = {}
        for layer in list(self._blocks):
            blocks = self._blocks.pop(layer)
            if not blocks:
                raise DataError("Expected at least one batch of activations, received none.")
            matrix = gram_of(blocks, dtype=self._dtype)
            found[layer] = Gram(matrix, matrix.mean(dim=1), blocks[0].shape[1], fingerprint, layer)
        return found


def gram_of(blocks: Sequence[Tensor], *, dtype: torch.dtype | None = None) -> Tensor:
    """Return ``X X'`` of rows that come in blocks ``(n_i, d)``: half of it is computed, a stripe of X at a time.

    Args:
        blocks: The rows.
        dtype: Type of the products and of their sums; float64 by default, where the device has it.
    """
    count, width = sum(map(len, blocks)), blocks[0].shape[1]
    dtype = dtype or precise_dtype(blocks[0].device)
    matrix = torch.zeros(count, count, dtype=dtype, device=blocks[0].device)
    for start in range(0, width, _STRIPE):
        stripe = torch.cat([block[:, start : start + _STRIPE].to(dtype) for block in blocks])
        for row in range(0, count, _TILE):
            end = row + _TILE
            matrix[row:end, :end].addmm_(stripe[row:end], stripe[:end].mT)
    for row in range(0, count, _TILE):
        end = row + _TILE
        corner = matrix[row:end, row:end].tril()
        matrix[row:end, row:end] = corner + corner.tril(-1).mT
        matrix[:row, row:end] = matrix[row:end, :row].mT
    return matrix


def grams(
    model: nn.Module,
    batches: BatchSource,
    layers: LayerPatterns,
    *,
    form: Form = "features",
    forward: Forward | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    limit: int = MEMORY_LIMIT,
) -> dict[str, Gram]:
    """Return the Gram matrix of every layer on a fixed probe set.

    In evaluation mode, without gradients; modes and hooks are restored whatever happens. Activations that do not fit
    into the memory are computed in several passes over the samples, and
    :func:`~weightscape.similarity.gram_plan.plan_grams` says in how many.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> found = grams(model, [torch.randn(6, 4)], "*")
    >>> found["1"].matrix.shape, found["1"].width
    (torch.Size([6, 6]), 3)

    Args:
        model: The network.
        batches: The probe set, in a fixed order (:func:`~weightscape.batches.as_batches`).
        layers: Addresses or patterns of layers (:func:`~weightscape.models.addresses.find_layers`).
        form: What a row is (:func:`~weightscape.similarity.rows.as_rows`).
        forward: ``forward(model, batch)`` runs a network; by default it is called with the inputs.
        device: Where to run a copy of the network; by default it runs itself, where it is.
        dtype: Type of the products and of their sums; float64 by default, where the device has it. Sums of squares of
            activations with a large mean lose most digits of float32.
        limit: Bytes that the activations kept and all matrices may take, 8 GiB by default.

    Raises:
        DataError: If there are no batches, they are shuffled, or the matrices need more memory than the limit.
        ModelError: If a layer does not exist or is not called, or it is not clear which call is meant.
    """
    plan = plan_grams(model, batches, layers, form=form, forward=forward, dtype=dtype, limit=limit)
    known = getattr(as_batches(batches).source, "fingerprint", None)
    found: dict[str, Gram] = {}
    for features in plan.passes:
        sums = StreamedGrams(tuple(features), form, dtype=dtype, limit=limit, features=features)
        inputs = InputHash()
        steps = passing([model], batches, [tuple(features)], forward=forward, device=device, order="fixed", limit=limit)
        for step in steps:
            if known is None:
                inputs.add(step.batch.content)
            sums.add(step.activations[0])
        for layer, part in sums.result(fingerprint=str(known or inputs.fingerprint)).items():
            found[layer] = part if layer not in found else _added(found[layer], part)
    return found


def _added(one: Gram, other: Gram) -> Gram:
    """Return the Gram matrix of the features of both.

    Raises:
        DataError: If they are of other samples.
    """
    if one.fingerprint != other.fingerprint:
        raise DataError("The samples changed from one pass to the next. Give batches that are the same in every pass.")
    matrix, means = one.matrix + other.matrix, one.row_means + other.row_means
    return Gram(matrix, means, one.width + other.width, one.fingerprint, one.layer)


def tensors_of_grams(grams: Mapping[str, Gram]) -> Weights:
    """Return Gram matrices as tensors by name, ``LAYER/matrix`` and so on, as they are stored."""
    found: Weights = {}
    for layer, gram in grams.items():
        text = torch.tensor(list(gram.fingerprint.encode()), dtype=torch.uint8)
        parts = (gram.matrix, gram.row_means, torch.tensor(gram.width), text)
        found |= {f"{layer}/{name}": part for name, part in zip(_PARTS, parts, strict=True)}
    return found


def grams_of_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Gram]:
    """Undo :func:`tensors_of_grams`; other tensors among them are passed over.

    Raises:
        DataError: If a part of a Gram matrix is missing.
    """
    layers = [name.removesuffix("/matrix") for name in tensors if name.endswith("/matrix")]
    missing = sorted(_names(layers) - tensors.keys())
    if missing:
        raise DataError(f"Expected stored Gram matrices, but {missing[0]!r} is missing. Represent the network again.")
    return {
        layer: Gram(
            matrix=tensors[f"{layer}/matrix"],
            row_means=tensors[f"{layer}/row_means"],
            width=int(tensors[f"{layer}/width"]),
            fingerprint=bytes(tensors[f"{layer}/fingerprint"].tolist()).decode(),
            layer=layer,
        )
        for layer in layers
    }


def _names(layers: Iterable[str]) -> set[str]:
    return {f"{layer}/{name}" for layer in layers for name in _PARTS}
