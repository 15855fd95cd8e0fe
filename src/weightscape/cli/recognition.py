"""The architecture of weights in files, where the user does not say it and their tensors do."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from weightscape.errors import Problem, SpecificationError

if TYPE_CHECKING:
    from weightscape.operation import Operation


def with_recognised_model(operation: Operation, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with ``--model`` filled in, where an input is a file whose tensors fit one architecture.

    Args:
        operation: What is called.
        given: Its inputs, settings and options as typed.

    Raises:
        SpecificationError: If the tensors fit no bundled architecture, or several.
    """
    files = _files(operation, given)
    if not files:
        return dict(given)
    from weightscape.cli.network_verbs import _data_shape
    from weightscape.models.recognition import recognise, shapes_of
    from weightscape.weights.files import load_weights

    shape, classes = _data_shape(given["setting_data"])
    shapes = {name: shapes_of(load_weights(path)) for name, path in files.items()}
    (first, path), *others = files.items()
    for name, other in others:
        if shapes[name] != shapes[first]:
            expected = f"weights with the tensors of {path}"
            received = f"{other}, {_difference(shapes[first], shapes[name])}"
            raise SpecificationError([Problem(name.upper(), expected, received)])
    found = recognise(shapes[first], shape=shape, classes=classes)
    if len(found) != 1:
        names = ", ".join(candidate.name for candidate in found)
        received = f"{path}, whose tensors fit {'several: ' + names if found else 'no bundled one'}"
        remedy = "Name it, as a bundled name, settings or a dotted path of your own: --model my_module.MyNetwork."
        place = f"--model, for images {' x '.join(map(str, shape))} and {classes} classes"
        raise SpecificationError([Problem(place, "the architecture of the weights", received, remedy)])
    settings = {"name": found[0].name, **found[0].model_dump(mode="json", exclude_defaults=True)}
    return {**given, "setting_model": json.dumps(settings)}


def _difference(expected: Mapping[str, tuple[int, ...]], received: Mapping[str, tuple[int, ...]]) -> str:
    """Return the first tensor that is not the same."""
    for name in (*expected, *received):
        if expected.get(name) != received.get(name):
            return f"where {name} is {received.get(name, 'missing')}, not {expected.get(name, 'there')}"
    return ""


def _files(operation: Operation, given: Mapping[str, Any]) -> dict[str, str]:
    """Return one file of weights for each input that is one, if the model is not given and may be read from them."""
    fields = operation.settings.model_fields
    if "model" not in fields or given.get("setting_model") or not given.get("setting_data"):
        return {}
    if any(text.strip().startswith("model") for text in given.get("overrides") or ()):
        return {}
    from weightscape.studies.reference import Reference

    found: dict[str, str] = {}
    for name in operation.inputs:
        texts = given.get(f"input_{name}") or ()
        for text in [texts] if isinstance(texts, str) else texts:
            reference = Reference.parse(text, name.upper())
            files = sorted(glob.glob(reference.name)) if reference.kind == "path" else []
            if files:
                found.setdefault(name, files[0])
    return found
