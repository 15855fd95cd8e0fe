"""The representation of a network on a probe set: stored once, compared with any other without the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weightscape.batches import BatchSource, Forward
from weightscape.errors import DataError, did_you_mean
from weightscape.models.addresses import ALL, items_of
from weightscape.similarity.collecting import Side, Wanted, collect
from weightscape.similarity.grams import grams_of_tensors, tensors_of_grams
from weightscape.similarity.memory import MEMORY_LIMIT
from weightscape.similarity.passing import LayerPatterns
from weightscape.similarity.result import Representation
from weightscape.similarity.rows import width_of
from weightscape.similarity.settings import Form

if TYPE_CHECKING:
    import pandas

    from weightscape.weights.algebra import Weights

_OUTPUTS, _LABELS, _SHAPES = "representation/outputs", "representation/labels", "representation/shape/"
_FORM, _LOSSY = "representation/form", "representation/lossy"
_FORMS: tuple[Form, ...] = ("pixels", "features", "pooled")


def represent(
    network: nn.Module,
    batches: BatchSource,
    *,
    layers: LayerPatterns = "all",
    form: Form = "features",
    forward: Forward | None = None,
    device: Any = None,
    limit: int = MEMORY_LIMIT,
) -> Representation:
    """Take the Gram matrix of each layer of a network, and its outputs, in one forward pass over the samples.

    Args:
        network: The network; it is not changed.
        batches: The samples, in any form (:func:`~weightscape.batches.as_batches`) and in a fixed order. Only
            representations of the same samples can be compared; a :class:`~weightscape.similarity.probe.Probe` is a
            fixed choice of a split.
        layers: Addresses or patterns; all modules without modules of their own by default.
        form: What a row is: ``features`` or ``pooled``.
        forward: ``forward(model, batch)`` runs the network; by default it is called with the inputs.
        device: Where to run a copy; by default the network runs where it is.
        limit: Bytes that activations may take.

    Raises:
        DataError: If batches are missing, shuffled or need more memory, or the form is pixels.
        ModelError: If a layer does not exist or is not called, with the closest name.
    """
    if form == "pixels":
        raise DataError(
            "Expected the form features or pooled: the Gram matrix of pixels has a row for every pixel of every image. "
            "Measures of pixels compare the networks themselves: compare(first, second, batches, form='pixels')."
        )
    wanted = Wanted(grams=form, outputs=True)
    found = collect(
        {"network": network}, batches, [layers], wanted=wanted, pairs=[], forward=forward, device=device, limit=limit
    )
    (side,) = found.sides
    return Representation(
        grams=_tensors(side, form), layers=_table(side, form), fingerprint=side.fingerprint, count=side.count, form=form
    )


def _table(side: Side, form: Form) -> pandas.DataFrame:
    import pandas

    rows = [
        {
            "layer": layer,
            "depth": depth,
            "shape": "x".join(map(str, side.shapes[layer])),
            "width": width_of(side.shapes[layer], form),
            "form": form,
            "bytes": gram.matrix.numel() * gram.matrix.element_size(),
        }
        for depth, (layer, gram) in enumerate(side.grams.items())
    ]
    return pandas.DataFrame(rows, columns=["layer", "depth", "shape", "width", "form", "bytes"])


def _tensors(side: Side, form: Form) -> Weights:
    found = dict(tensors_of_grams(side.grams))
    found[_FORM] = torch.tensor(_FORMS.index(form))
    found |= {f"{_SHAPES}{layer}": torch.tensor(shape) for layer, shape in side.shapes.items()}
    if side.outputs is not None:
        found[_OUTPUTS] = side.outputs
    if side.labels is not None:
        found[_LABELS] = side.labels
    return found


def is_representation(weights: Mapping[str, Tensor]) -> bool:
    """Return whether tensors are those of a representation, not the weights of a network."""
    return _FORM in weights


def side_of(representation: Representation | Mapping[str, Tensor], patterns: LayerPatterns, *, name: str) -> Side:
    """Return what is stored of a network, for a comparison.

    Args:
        representation: The representation or its tensors.
        patterns: Addresses or patterns of the layers wanted; ``all`` is all that are stored.
        name: Name of the network.

    Raises:
        DataError: If a layer is not stored, with the closest name.
    """
    tensors = representation.grams if isinstance(representation, Representation) else representation
    grams = grams_of_tensors(tensors)
    chosen = _chosen(tuple(grams), patterns)
    return Side(
        name=name,
        layers=chosen,
        grams={layer: grams[layer] for layer in chosen},
        shapes={layer: tuple(tensors[f"{_SHAPES}{layer}"].tolist()) for layer in chosen},
        rows={},
        outputs=tensors.get(_OUTPUTS),
        labels=tensors.get(_LABELS),
        fingerprint=grams[chosen[0]].fingerprint,
        count=len(grams[chosen[0]].matrix),
    )


def representation_of(tensors: Mapping[str, Tensor]) -> Representation:
    """Return the representation that tensors are those of, as they were stored."""
    form = _FORMS[int(tensors[_FORM])]
    side = side_of(tensors, ALL, name="network")
    return Representation(
        grams=dict(tensors),
        layers=_table(side, form),
        fingerprint=side.fingerprint,
        count=side.count,
        form=form,
        lossy_images=_LOSSY in tensors,
    )


def with_lossy_images(representation: Representation) -> Representation:
    """Return a representation that says of its images that they are a lossy copy."""
    return replace(representation, grams={**representation.grams, _LOSSY: torch.tensor(1)}, lossy_images=True)


def _chosen(stored: tuple[str, ...], patterns: LayerPatterns) -> tuple[str, ...]:
    wanted: set[str] = set()
    for item in items_of(patterns):
        found = [layer for layer in stored if item == ALL or layer == item or fnmatchcase(layer, item)]
        if not found:
            raise DataError(f"The representation has no layer {item!r}. {did_you_mean(item, stored)}")
        wanted.update(found)
    if not wanted:
        raise DataError(f"Expected the name of a layer or a pattern, received none. Stored: {', '.join(stored)}.")
    return tuple(layer for layer in stored if layer in wanted)
