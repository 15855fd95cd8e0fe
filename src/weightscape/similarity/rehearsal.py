"""What is asked of the layers of networks, tried out on networks without weights before anything is computed.

An architecture that cannot be built without weights, or data whose shape no catalogue says, makes nothing known: then
the task finds it when it runs.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weightscape.data.catalogue import shape_and_classes
from weightscape.data.sources import source_kind
from weightscape.errors import ModelError, Problem
from weightscape.models.addresses import items_of
from weightscape.models.architecture import Architecture, parse_architecture
from weightscape.models.families import Foreign, Stitched
from weightscape.models.sketch import Sketch, sketch

if TYPE_CHECKING:
    from weightscape.data.specification import DataSettings

_SKETCHES = 64


def known_sketch(model: Architecture | None, data: DataSettings | None) -> Sketch | None:
    """Return a network without weights, the same one for equal settings; None where it cannot be known.

    Args:
        model: Its architecture; None where no input says it.
        data: The data set; only of those of the catalogue is the shape known without reading them.
    """
    if model is None or data is None or source_kind(data.name) != "catalogue" or _is_cut_on_trial(model):
        return None
    shape, classes = shape_and_classes(data)
    return _sketched(model.model_dump_json(), shape, classes)


def _is_cut_on_trial(model: Any) -> bool:
    """Whether networks of others were cut: how that goes, and what modules have it, is known when numbers agree."""
    if not isinstance(model, Stitched):
        return False
    return any(isinstance(part, Foreign) or _is_cut_on_trial(part) for part in (model.front, model.back))


@functools.lru_cache(maxsize=_SKETCHES)
def _sketched(model: str, shape: tuple[int, int, int], classes: int) -> Sketch | None:
    try:
        return sketch(parse_architecture(json.loads(model)), shape=shape, classes=classes)
    except Exception:  # foreign code, which may need numbers or a file: the task says what is wrong, if anything is
        return None


def missing_layers(known: Sketch, patterns: Sequence[str], option: str, *, network: str) -> list[Problem]:
    """Return a problem for each name or pattern that stands for no layer.

    Args:
        known: The network.
        patterns: Names and patterns.
        option: The setting that they are written in.
        network: What the network is called.
    """
    found = []
    for item in items_of(patterns):
        try:
            known.layers(item)
        except ModelError as error:
            found.append(Problem(option, f"layers of the {network}", repr(item), str(error)))
    return found


def rehearse_represent(settings: Any) -> list[Problem]:
    """Return which layers a network that is to be represented does not have (``similarity.operations.represent``)."""
    known = known_sketch(settings.model, settings.data)
    return [] if known is None else missing_layers(known, settings.layers, "layers", network="network")


def rehearse_compare(settings: Any) -> list[Problem]:
    """Return which layers networks that are to be compared do not have (``similarity.operations.compare``).

    Stored representations have no architecture; their layers are looked for when they are compared.
    """
    source = known_sketch(settings.source_model, settings.data)
    target = known_sketch(settings.target_model, settings.data)
    own = settings.target_layers is not None
    found = [] if source is None else missing_layers(source, settings.layers, "layers", network="source network")
    if target is None or (target is source and not own):
        return found
    option, patterns = ("target_layers", settings.target_layers) if own else ("layers", settings.layers)
    return found + missing_layers(target, patterns, option, network="target network")
