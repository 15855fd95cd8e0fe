"""Representations and comparisons of weights as studies name them: by architecture, data set and probe set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import nn

from weightscape.errors import DataError, Interrupted
from weightscape.similarity.cells import Asked
from weightscape.similarity.comparison import compare
from weightscape.similarity.probe import Choice, Probe, choose_probe
from weightscape.similarity.representation import is_representation, represent, representation_of, with_lossy_images
from weightscape.similarity.result import Comparison, Representation
from weightscape.similarity.settings import ChosenMeasure, Form

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset
    from weightscape.data.specification import DataSettings
    from weightscape.models.architecture import Architecture
    from weightscape.operation import Context
    from weightscape.weights.algebra import Weights


@dataclass(frozen=True)
class Shown:
    """What networks are shown.

    Attributes:
        images: How many images at most.
        choice: Which of the split.
        split: The part of the data set.
        seed: Draws them.
    """

    images: int
    choice: Choice
    split: str
    seed: int

    def probe(self, dataset: Dataset) -> Probe:
        """Return the images; all of a split that has fewer."""
        split = getattr(dataset, self.split)
        return choose_probe(split, images=min(self.images, len(split)), seed=self.seed, choice=self.choice)


@dataclass(frozen=True)
class Sources:
    """Two networks, or what was stored of them.

    Attributes:
        first: Weights or stored tensors.
        second: The same of the second network.
        first_model: Architecture of the first network; None for stored tensors.
        second_model: Architecture of the second network.
        data: The data set; None for stored tensors.
    """

    first: Weights
    second: Weights
    first_model: Architecture | None
    second_model: Architecture | None
    data: DataSettings | None


def represent_weights(
    weights: Weights,
    *,
    model: Architecture,
    data: DataSettings,
    layers: Sequence[str],
    form: Form,
    shown: Shown,
    context: Context,
) -> Representation:
    """Return the representation of given weights.

    Raises:
        DataError: As :func:`~weightscape.similarity.representation.represent`.
        ModelError: If the weights do not fit the architecture, or a layer does not exist.
    """
    dataset = _loaded(data, context)
    network = _network(weights, model, dataset)
    found = represent(network, shown.probe(dataset), layers=list(layers), form=form, device=context.device)
    return with_lossy_images(found) if dataset.lossy else found


def compare_weights(
    sources: Sources,
    *,
    layers: tuple[Sequence[str], Sequence[str]],
    measures: Sequence[ChosenMeasure],
    form: Form | None,
    shown: Shown,
    asked: Asked,
    context: Context,
) -> Comparison:
    """Compare two networks, or two stored representations.

    Raises:
        DataError: If one is a network and the other is not, an architecture or the data set is not known, or as
            :func:`~weightscape.similarity.comparison.compare`.
        ModelError: If weights do not fit their architecture, or a layer does not exist.
        Interrupted: If the user asked to stop.
    """
    stored = [is_representation(weights) for weights in (sources.first, sources.second)]
    if stored[0] != stored[1]:
        kinds = ["what represent stored" if one else "a network" for one in stored]
        raise DataError(
            f"Expected two networks or two stored representations; the source is {kinds[0]}, the target {kinds[1]}. "
            "Represent both on the same images, or compare both networks."
        )
    options: dict[str, Any] = {
        "other_layers": list(layers[1]),
        "measures": measures,
        "average_over": asked.batch,
        "null": asked.null,
        "intervals": asked.intervals,
        "seed": asked.seed,
    }
    if stored[0]:
        return _compare_stored(sources, list(layers[0]), form, options)
    data, first, second = sources.data, sources.first_model, sources.second_model
    if data is None or first is None or second is None:
        raise DataError(
            f"Expected {_missing(sources)}: the inputs do not say it. Only stored representations need none."
        )
    dataset = _loaded(data, context)
    pair = (
        _network(sources.first, first, dataset, role="source"),
        _network(sources.second, second, dataset, role="target"),
    )
    context.progress(0.1, f"{shown.images} images")
    if context.should_stop():
        raise Interrupted("Stopped before the networks were run; the same command starts again.")
    found = compare(
        pair[0], pair[1], shown.probe(dataset), layers=list(layers[0]), form=form, device=context.device, **options
    )
    table = found.layers.assign(lossy_images=dataset.lossy)
    return replace(found, layers=table, measured_on=shown.split, lossy_images=dataset.lossy)


def _compare_stored(sources: Sources, layers: list[str], form: Form | None, options: Mapping[str, Any]) -> Comparison:
    pair = representation_of(sources.first), representation_of(sources.second)
    found = compare(pair[0], pair[1], layers=layers, form=form, **options)
    lossy = pair[0].lossy_images or pair[1].lossy_images
    return replace(found, layers=found.layers.assign(lossy_images=lossy), lossy_images=lossy)


def _missing(sources: Sources) -> str:
    known = {"data": sources.data, "source_model": sources.first_model, "target_model": sources.second_model}
    missing = [option for option, value in known.items() if value is None]
    return " and ".join(f"the option {name} (--{name.replace('_', '-')} NAME)" for name in missing)


def _loaded(data: DataSettings, context: Context) -> Dataset:
    from weightscape.data.loading import load_data

    return load_data(data, root=context.data_root, device=context.device)


def _network(weights: Weights, model: Architecture, dataset: Dataset, *, role: str = "") -> nn.Module:
    from weightscape.models.building import filled_model

    return filled_model(model, weights, shape=dataset.shape, classes=len(dataset.classes), called=role.capitalize())
