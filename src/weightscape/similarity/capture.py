"""The activations of networks at named layers: batch by batch, or as one matrix per layer.

What is kept is a copy, taken when the layer is reached, so that activation functions that work in place change nothing.
Hooks are removed and modes restored whatever happens, also between two batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any, Literal, TypeAlias, overload

import torch
from torch import Tensor, nn

from weightscape.batches import Batch, Batches, BatchSource, Forward, as_batches
from weightscape.errors import DataError, ModelError
from weightscape.models.addresses import (
    LayerAddress,
    choose,
    first_tensor,
    places,
    resolve,
    tensor_or_none,
)
from weightscape.repeatable import Cuttable
from weightscape.similarity.memory import MEMORY_LIMIT, check_memory, expected_count, head_of
from weightscape.similarity.settings import Form
from weightscape.training.layout import private_copy
from weightscape.weights.modes import evaluation_mode

LayerPatterns: TypeAlias = str | Sequence[str]
Order: TypeAlias = Literal["fixed", "any"]
_STEP_BYTES = 1 << 30
"""Bytes of activations that a batch cut from a split may have."""
_BATCH = 512


def as_rows(activation: Tensor, form: Form) -> Tensor:
    """Return an activation ``(n, C, ...)`` as a matrix; one without pixels ``(n, d)`` is the same in every form.

    Args:
        activation: The activation; its layout in memory does not matter.
        form: ``pixels``: every pixel is a row ``(n * H * W, C)``, those of an image one after the other. ``features``:
            every image is one ``(n, C * H * W)``, in the order channels, height, width. ``pooled``: the mean over the
            map ``(n, C)``.

    Raises:
        DataError: If the activation is no batch of vectors or maps.
    """
    if activation.ndim < 2:
        raise DataError(f"Expected activations (n, d) or (n, C, H, W), received shape {tuple(activation.shape)}.")
    if activation.ndim == 2:
        return activation
    if form == "pixels":
        return activation.movedim(1, -1).reshape(-1, activation.shape[1])
    return activation.flatten(1) if form == "features" else activation.flatten(2).mean(dim=2)


@contextmanager
def activations(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Keep copies of the activations at layers while a network is used; each forward pass replaces those before.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True))
    >>> with activations(model, ["0", "1"]) as found:
    ...     outputs = model(torch.randn(4, 2))
    >>> sorted(found), found["0"].min() < 0
    (['0', '1'], tensor(True))

    Args:
        model: The network, in the mode that it is in.
        layers: Addresses (:class:`~weightscape.models.addresses.LayerAddress`).

    Yields:
        The activations by address, detached.

    Raises:
        ModelError: If a layer does not exist; during the forward pass, if a layer is called several times and the
            address does not say which call is meant.
    """
    found: dict[str, Tensor] = {}
    watcher = _Watcher(model, layers, found)
    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(watcher.begin).remove)
        watcher.attach(stack)
        yield found


class _Watcher:
    """The hooks of one network."""

    def __init__(self, model: nn.Module, layers: Sequence[str], found: dict[str, Tensor]) -> None:
        self._found = found
        self._calls: dict[tuple[nn.Module, str], int] = {}
        self._wanted: dict[tuple[nn.Module, str], dict[str, LayerAddress]] = {}
        modules = dict(model.named_modules(remove_duplicate=False))
        for layer in layers:
            address = LayerAddress.parse(layer)
            if address.module not in modules:
                resolve(model, {}, address)  # says which there are
            self._wanted.setdefault((modules[address.module], address.point), {})[layer] = address

    def begin(self, *_: Any) -> None:
        """Forget the pass before."""
        self._found.clear()
        self._calls = dict.fromkeys(self._wanted, 0)

    def attach(self, stack: ExitStack) -> None:
        """Register the hooks; `stack` removes them."""
        self.begin()
        for module, point in self._wanted:
            if point == "input":
                handle = module.register_forward_pre_hook(self._enter, with_kwargs=True)
            else:
                handle = module.register_forward_hook(self._leave)
            stack.callback(handle.remove)

    def _enter(self, module: nn.Module, arguments: Any, named: Any) -> None:
        self._reached((module, "input"), first_tensor(arguments, named))

    def _leave(self, module: nn.Module, _arguments: Any, output: Any) -> None:
        self._reached((module, "output"), tensor_or_none(output))

    def _reached(self, place: tuple[nn.Module, str], value: Tensor | None) -> None:
        self._calls[place] += 1
        for layer, address in self._wanted[place].items():
            if address.call is None and self._calls[place] > 1:
                raise ModelError(
                    f"The layer {address.module!r} is called several times in one forward pass. Say which call is "
                    f"meant: {address.module}#1, {address.module}#2, ..."
                )
            if value is not None and address.call in {None, self._calls[place]}:
                self._found[layer] = value.detach().clone()


@dataclass(frozen=True)
class Step:
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
) -> Iterator[Step]:
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
        if found is None:
            described = [described_layers(*one, given, batch) for one in zip(runs, layers, strict=True)]
            check_memory(
                batch.count * sum(place.bytes for one in described for place in one.values()),
                limit,
                f"a batch of {batch.count}",
            )
            found = [tuple(one) for one in described]
        sides = [_run(model, names, given, batch) for model, names in zip(runs, found, strict=True)]
        yield Step(batch, tuple(side[0] for side in sides), tuple(side[1] for side in sides))
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
        """Return the number of rows that it becomes (:func:`as_rows`), their width, and the bytes of a number."""
        pixels = prod(self.shape[1:])
        width = prod(self.shape) if form == "features" else self.shape[0]
        return pixels if form == "pixels" else 1, width, self.itemsize


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
        _Watcher(model, layers, found).attach(stack)
        stack.enter_context(evaluation_mode(model))
        stack.enter_context(torch.no_grad())
        outputs = tensor_or_none(given.run(model, batch.to(_device(model))))
    return {layer: found[layer] for layer in layers}, outputs


def _device(model: nn.Module) -> torch.device | None:
    return next((tensor.device for tensor in chain(model.parameters(), model.buffers())), None)


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
        form: What a row is (:func:`as_rows`).
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
