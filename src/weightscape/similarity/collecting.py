"""One forward pass of every network over the samples, which serves all layers, all measures and all pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightscape.batches import Batch, BatchSource, Forward
from weightscape.errors import DataError, ModelError
from weightscape.similarity.grams import Gram, StreamedGrams
from weightscape.similarity.memory import MEMORY_LIMIT, check_memory
from weightscape.similarity.pair_moments import PairMoments, Place, StreamedPairMoments
from weightscape.similarity.passing import NO_LAYER, LayerPatterns, Passed, passing
from weightscape.similarity.probe import InputHash, Probe
from weightscape.similarity.rows import as_rows
from weightscape.similarity.settings import Form

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Wanted:
    """What measures are computed from.

    Attributes:
        grams: Form of the rows of Gram matrices; None where none are wanted.
        moments: Form of the samples of joint moments; None where none are wanted.
        rows: Form of the activations themselves; None where they are not wanted.
        outputs: Whether the outputs of the networks are wanted.
        shuffles: Shuffles of the pairs of samples within each batch, for the null of moments.
        seed: Draws them.
    """

    grams: Form | None = None
    moments: Form | None = None
    rows: Form | None = None
    outputs: bool = False
    shuffles: int = 0
    seed: int = 0

    @property
    def of_layers(self) -> bool:
        """Whether anything but outputs is wanted."""
        return (self.grams, self.moments, self.rows) != (None, None, None)


@dataclass(frozen=True)
class Side:
    """What is known of one network.

    Attributes:
        name: Its name.
        layers: Addresses in order of execution.
        grams: Gram matrices by address.
        shapes: Shape of each activation without the batch, by address.
        rows: Activations ``(n, d)`` by address, where they are wanted.
        outputs: What it returned ``(n, classes)``; None where that is not known.
        labels: The right classes ``(n,)``; None where they are not known.
        fingerprint: Hash of the samples.
        count: Number of samples.
    """

    name: str
    layers: tuple[str, ...]
    grams: Mapping[str, Gram]
    shapes: Mapping[str, tuple[int, ...]]
    rows: Mapping[str, Tensor]
    outputs: Tensor | None
    labels: Tensor | None
    fingerprint: str
    count: int


@dataclass(frozen=True)
class Collected:
    """All that measures need, of all networks.

    Attributes:
        sides: The networks, in the order given.
        moments: Joint moments by the positions of two networks.
    """

    sides: tuple[Side, ...]
    moments: Mapping[Place, PairMoments]


def collect(
    networks: Mapping[str, nn.Module],
    batches: BatchSource,
    layers: Sequence[LayerPatterns],
    *,
    wanted: Wanted,
    pairs: Sequence[Place],
    forward: Forward | None = None,
    device: str | torch.device | None = None,
    limit: int = MEMORY_LIMIT,
    progress: Progress = lambda done, total: None,
) -> Collected:
    """Run every network once over the samples and keep what the measures need.

    Without joint moments the networks run one after the other; with them they all see a batch before the next is read.

    Args:
        networks: The networks by name.
        batches: The samples, in a fixed order.
        layers: Patterns for each network.
        wanted: What is needed.
        pairs: Positions of the networks whose joint moments are needed.
        forward: ``forward(model, batch)`` runs a network.
        device: Where to run copies; by default the networks run where they are.
        limit: Bytes that may be kept.
        progress: Called with the networks done and their number.

    Raises:
        DataError: If batches are missing, shuffled, or too much for the memory.
        ModelError: If a layer does not exist or is not called.
    """
    names, modules = list(networks), list(networks.values())
    form = wanted.moments
    joint = form is not None
    groups = [list(range(len(names)))] if joint else [[place] for place in range(len(names))]
    gatherers = [_Gatherer(name, wanted, limit=limit // (len(names) if joint else 1)) for name in names]
    moments: dict[Place, StreamedPairMoments] = {}
    if form is not None:
        options = {"shuffles": wanted.shuffles, "seed": wanted.seed}
        moments = {pair: StreamedPairMoments(form, **options) for pair in pairs}
    for done, group in enumerate(groups):
        progress(done, len(groups))
        chosen = [modules[place] for place in group]
        patterns: list[LayerPatterns] = [layers[place] for place in group]
        steps = passing(chosen, batches, patterns, forward=forward, device=device, order="fixed", limit=limit)
        for number, step in enumerate(steps):
            for position, place in enumerate(group):
                gatherers[place].add(step, position)
            for (first, second), pair in moments.items():
                pair.add(step.activations[first], step.activations[second], number)
    fingerprint = batches.fingerprint if isinstance(batches, Probe) else None
    sides = tuple(gatherer.side(fingerprint) for gatherer in gatherers)
    return Collected(sides, {pair: found.result() for pair, found in moments.items()})


class _Gatherer:
    """Keeps what is needed of one network alone."""

    def __init__(self, name: str, wanted: Wanted, *, limit: int) -> None:
        self._name, self._wanted, self._limit = name, wanted, limit
        self._grams: StreamedGrams | None = None
        self._layers: tuple[str, ...] = ()
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._outputs: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._rows: dict[str, list[Tensor]] = {}
        self._hash = InputHash()
        self._kept = self._count = 0

    def add(self, step: Passed, position: int) -> None:
        found = step.activations[position]
        if not self._count:
            self._layers = tuple(found)
            if not found and self._wanted.of_layers:
                raise ModelError(NO_LAYER)
            self._shapes = {layer: tuple(one.shape[1:]) for layer, one in found.items()}
            if self._wanted.grams is not None:
                self._grams = StreamedGrams(self._layers, self._wanted.grams, limit=self._limit)
        self._hash.add(step.batch.content)
        self._count += step.batch.count
        if self._grams is not None:
            self._grams.add(found)
        if self._wanted.rows is not None:
            self._keep_rows(found, self._wanted.rows)
        output = step.outputs[position]
        if self._wanted.outputs and output is not None:
            self._outputs.append(output.detach().flatten(1).cpu())
            self._labels += _labels_of(step.batch)

    def _keep_rows(self, found: Mapping[str, Tensor], form: Form) -> None:
        for layer, raw in found.items():
            rows = as_rows(raw, form).cpu()
            self._kept += rows.numel() * rows.element_size()
            check_memory(self._kept, self._limit, f"the activations of {self._name}")
            self._rows.setdefault(layer, []).append(rows)

    def side(self, fingerprint: str | None) -> Side:
        outputs = torch.cat(self._outputs) if self._outputs else None
        labels = torch.cat(self._labels) if self._labels else None
        found = fingerprint or self._hash.fingerprint
        grams = {} if self._grams is None else self._grams.result(fingerprint=found)
        rows = {layer: torch.cat(parts) for layer, parts in self._rows.items()}
        return Side(self._name, self._layers, grams, self._shapes, rows, outputs, labels, found, self._count)


def _labels_of(batch: Batch) -> Iterator[Tensor]:
    """Yield the classes of a batch, where it has one for each sample."""
    targets = batch.targets
    if batch.labelled and isinstance(targets, Tensor) and targets.ndim == 1 and not targets.is_floating_point():
        yield targets.cpu()


def labels_of(side: Side) -> Tensor:
    """Return the right classes.

    Raises:
        DataError: If they are not known.
    """
    if side.labels is None or side.outputs is None or len(side.labels) != len(side.outputs):
        raise DataError(
            "A measure of mistakes needs the right class of every sample: give batches of (inputs, labels), with one "
            "class per sample."
        )
    return side.labels
