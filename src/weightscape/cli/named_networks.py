"""Networks named by where their weights are: a file, a key, or a stage of a study."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from weightscape.cli.inputs import Inputs, inputs_of_data
from weightscape.errors import Problem, SpecificationError
from weightscape.studies.reference import Reference

if TYPE_CHECKING:
    from weightscape.models.architecture import Architecture
    from weightscape.models.recognition import Shapes

_PLACE = "MODEL"
_SIDE = 32


class NamedNetwork(NamedTuple):
    """The architecture of weights, and what they take and answer as far as that is known."""

    architecture: Architecture
    inputs: Inputs | None


def named_network(text: str, *, inputs: Inputs | None, workspace: Path | None) -> NamedNetwork | None:
    """Return the network whose weights a text names; None if it is no such reference but a name or settings.

    Args:
        text: A path, a key or ``study/stage``.
        inputs: What the network takes and answers, where the user says it.
        workspace: Folder of results.

    Raises:
        SpecificationError: If there are no such weights, or it is not clear of which architecture they are.
    """
    from weightscape.models.foreign import LIBRARY

    if text.lstrip().startswith("{") or re.match(LIBRARY, text):
        return None
    try:
        reference = Reference.parse(text, _PLACE)
    except SpecificationError:
        return None
    if reference.kind == "path":
        return _of_file(reference, inputs)
    return _of_result(reference, workspace) if reference.kind == "key" or reference.study else None


def _of_file(reference: Reference, inputs: Inputs | None) -> NamedNetwork:
    from weightscape.models.recognition import recognise, shapes_of
    from weightscape.weights.files import load_weights

    path = os.path.expanduser(reference.name)
    paths = [path] if os.path.isfile(path) else sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))
    if not paths:
        from weightscape.weights.runs import what_is_there

        missing = Problem(_PLACE, "a file of weights", repr(reference.name), what_is_there(path))
        raise SpecificationError([missing])
    shapes = shapes_of(load_weights(paths[0]))
    taken = inputs or _guessed(shapes)
    found = recognise(shapes, shape=taken[0], classes=taken[1])
    if len(found) == 1:
        return NamedNetwork(found[0], taken)
    names = ", ".join(candidate.name for candidate in found)
    received = f"{paths[0]}, whose tensors fit {'several: ' + names if found else 'none'}"
    place = f"{_PLACE}, for images {' x '.join(map(str, taken[0]))} and {taken[1]} classes"
    remedy = "Name the data with --data, or the architecture in place of the file."
    raise SpecificationError([Problem(place, "weights of a bundled architecture", received, remedy)])


def _guessed(shapes: Shapes) -> Inputs:
    """Return what tensors say of inputs and classes: channels of the first convolution, rows of the last tensor."""
    channels = next((shape[1] for shape in shapes.values() if len(shape) == 4), 1)
    classes = next((shape[0] for shape in reversed(list(shapes.values())) if shape), 1)
    return (channels, _SIDE, _SIDE), classes


def _of_result(reference: Reference, workspace: Path | None) -> NamedNetwork:
    from weightscape.cli.opening import open_store
    from weightscape.models.architecture import parse_architecture
    from weightscape.studies.relation import matching
    from weightscape.studies.sources import Sources

    table = Sources(open_store(workspace)).table(reference, _PLACE)
    try:
        kept = matching([dict(row.settings) for row in table.rows], reference.where)
    except ValueError as error:
        expected = "a condition on the settings of the rows"
        raise SpecificationError([Problem(_PLACE, expected, repr(reference.where), f"{error}.")]) from error
    rows = [table.rows[place] for place in kept]
    fields = [reference.field] if reference.field else _networks(table.outputs)
    seen: list[dict[str, Any]] = [table.made(row, field) for row in rows for field in fields]
    settings = next((found for found in seen if found.get("model") is not None), None)
    if settings is None:
        received = f"{reference.name!r}, of which no architecture is known"
        raise SpecificationError([Problem(_PLACE, "a result that has a network", received)])
    data = settings.get("data")
    return NamedNetwork(parse_architecture(settings["model"]), inputs_of_data(json.dumps(data)) if data else None)


def _networks(outputs: Mapping[str, str]) -> list[str]:
    return [name for name, artefact in outputs.items() if artefact in {"Weights", "Trajectory", "Population"}]
