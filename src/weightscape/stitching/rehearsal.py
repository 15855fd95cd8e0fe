"""Whether layers of two networks can be stitched, tried out on networks without weights before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from weightscape.errors import ModelError, Problem
from weightscape.models.sketch import Sketch
from weightscape.seeds import seeded
from weightscape.similarity.rehearsal import known_sketch, missing_layers
from weightscape.stitching.direct.sites import find_matches
from weightscape.stitching.jobs import stitch_between
from weightscape.stitching.pair import one_layer
from weightscape.stitching.settings import StitchSpec


def rehearse_stitch(settings: Any) -> list[Problem]:
    """Return why a stitch cannot be made (``stitching.operations.stitch``): its layers, or the shapes at them."""
    spec = StitchSpec(**{name: getattr(settings, name) for name in StitchSpec.model_fields})
    front, back = _known(settings)
    option = "front_layer" if spec.back_layer is None else "back_layer"
    problems: list[Problem] = []
    start = _layer(front, spec.front_layer, "front_layer", "front", problems)
    same = back is front and spec.back_layer is None  # then one mistake is one problem
    end = start if same else _layer(back, spec.entry, option, "back", problems)
    if start is None or end is None or front is None or back is None:
        return problems
    try:
        with torch.device("meta"), seeded(0, "init"):
            stitch_between(front.shape(start), back.shape(end), spec=spec)
    except ModelError as error:
        return [Problem(option, "layers that can be stitched so", f"{start} and {end}", str(error))]
    return []


def rehearse_direct_matching(settings: Any) -> list[Problem]:
    """Return why layers cannot be matched (``stitching.direct.operations.direct_matching``)."""
    front, back = _known(settings)
    layers, others = settings.layers, settings.back_layers
    problems: list[Problem] = []
    if front is not None:
        problems += missing_layers(front, layers, "layers", network="front network")
    if back is not None and others is not None:
        problems += missing_layers(back, others, "back_layers", network="back network")
    if problems or front is None or back is None:
        return problems
    try:
        find_matches(front.network, back.network, layers, others, example=front.example, form=settings.form)
    except ModelError as error:
        received = _words(layers) if others is None else f"{_words(layers)} and {_words(others)}"
        option = "layers" if others is None else "back_layers"
        return [Problem(option, "layers that can be matched", received, str(error))]
    return []


def _known(settings: Any) -> tuple[Sketch | None, Sketch | None]:
    return known_sketch(settings.front_model, settings.data), known_sketch(settings.back_model, settings.data)


def _layer(known: Sketch | None, layer: str, option: str, name: str, problems: list[Problem]) -> str | None:
    """Return the address of one layer; None, and a problem, where there is none; None where the network is unknown."""
    try:
        return None if known is None else one_layer(known.network, dict(known.places), layer, name=name)
    except ModelError as error:
        problems.append(Problem(option, "one layer to stitch at", repr(layer), str(error)))
        return None


def _words(layers: Sequence[str]) -> str:
    return ", ".join(layers)
