"""The architectures of weights in files, where the user does not say them and their tensors do."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from weightscape.cli.signatures import option_flag
from weightscape.errors import Problem, SpecificationError, WeightscapeError

if TYPE_CHECKING:
    from weightscape.models.recognition import Shapes
    from weightscape.operation import Operation
    from weightscape.studies.workspace.store import Store

_MODEL, _DATA = "model", "data"


def with_recognised_models(operation: Operation, given: Mapping[str, Any], store: Store) -> dict[str, Any]:
    """Return the options with ``--model`` filled in, where an input is a file whose tensors fit one architecture.

    An operation that has one option for each input, such as ``--front-model``, takes files of different architectures.
    A bundled architecture that is given is compared with the tensors of the file before anything starts.

    Args:
        operation: What is called.
        given: Its inputs, settings and options as typed.
        store: The workspace, which knows the data of inputs that are no files.

    Raises:
        SpecificationError: If the tensors fit no bundled architecture, or several, or not the one that is given.
    """
    files = _files(operation, given)
    concerned = {option: paths for option, names in _owners(operation, given) if (paths := _of(files, names))}
    data = _data(operation, given, store) if concerned else None
    if data is None:
        return dict(given)
    found = dict(given)
    wrong: list[Problem] = []
    for option, paths in concerned.items():
        try:
            if given.get(f"setting_{option}"):
                _check_given(option, str(given[f"setting_{option}"]), paths, data)
            elif (settings := _recognised(operation, option, paths, data)) is not None:
                found[f"setting_{option}"] = json.dumps(settings)
        except SpecificationError as error:
            wrong += error.problems
    if wrong:
        raise SpecificationError(wrong)
    return found


def follow_from_data(operation: Operation, given: Mapping[str, Any]) -> set[str]:
    """Return the flags of architectures that need not be said, for files say them once the data are known."""
    files = _files(operation, given)
    options = (option for option, names in _owners(operation, given) if _of(files, names))
    return {option_flag(option) for option in options if not given.get(f"setting_{option}")}


def _owners(operation: Operation, given: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield each option that names an architecture, unless ``--set`` does, with the inputs whose architecture it is."""
    fields = operation.settings.model_fields
    own = {name: f"{name}_{_MODEL}" for name in operation.inputs if f"{name}_{_MODEL}" in fields}
    owners = {option: [name] for name, option in own.items()}
    if _MODEL in fields:
        owners[_MODEL] = [name for name in operation.inputs if name not in own]
    set_apart = [text.strip() for text in given.get("overrides") or ()]
    for option, names in owners.items():
        if not any(text.startswith(option) for text in set_apart):
            yield option, names


def _files(operation: Operation, given: Mapping[str, Any]) -> dict[str, str]:
    """Return one file of weights for each input that is one."""
    from weightscape.studies.reference import Reference

    found: dict[str, str] = {}
    for name in operation.inputs:
        for text in _texts(given, name):
            reference = Reference.parse(text, name.upper())
            # of what is no file, planning says what it is
            files = sorted(filter(os.path.isfile, glob.glob(reference.name))) if reference.kind == "path" else []
            if files:
                found.setdefault(name, files[0])
    return found


def _of(files: Mapping[str, str], names: list[str]) -> dict[str, str]:
    return {name: files[name] for name in names if name in files}


def _texts(given: Mapping[str, Any], name: str) -> list[str]:
    texts = given.get(f"input_{name}") or ()
    return [texts] if isinstance(texts, str) else list(texts)


def _data(operation: Operation, given: Mapping[str, Any], store: Store) -> str | None:
    """Return the data set as typed, else that of an input which is a result; None where nothing says it."""
    from weightscape.studies.reference import Reference
    from weightscape.studies.sources import Sources

    if given.get(f"setting_{_DATA}"):
        return str(given[f"setting_{_DATA}"])
    for name in operation.inputs:
        for text in _texts(given, name):
            try:
                rows = Sources(store).table(Reference.parse(text, name.upper()), name.upper()).rows
            except SpecificationError:
                continue  # planning says what is wrong with it
            for row in rows:
                if row.settings.get(_DATA) is not None:
                    return json.dumps(row.settings[_DATA])
    return None


def _check_given(option: str, text: str, paths: Mapping[str, str], data: str) -> None:
    """Compare files with a bundled architecture.

    Raises:
        SpecificationError: If their tensors are others, naming these.
    """
    from weightscape.cli.inputs import inputs_of_data
    from weightscape.models.architecture import NAMES, parse_architecture
    from weightscape.models.filling import differences, listed
    from weightscape.models.recognition import shapes_in, shapes_of
    from weightscape.studies.document import read_value
    from weightscape.weights.files import load_weights

    try:
        architecture = parse_architecture(read_value(text))
    except WeightscapeError:
        return  # planning says what is wrong with it
    shape, classes = inputs_of_data(data)
    expected = shapes_in(architecture, shape, classes) if architecture.name in NAMES else None
    if expected is None:
        return
    for path in paths.values():
        faults = differences(expected, shapes_of(load_weights(path)))
        if faults:
            wanted = f"the architecture of {path}"
            remedy = f"Without {option_flag(option)}, the architecture is found from the tensors."
            received = f"{architecture.name}, whose tensors are others: {listed(faults)}"
            raise SpecificationError([Problem(option_flag(option), wanted, received, remedy)])


def _recognised(operation: Operation, option: str, paths: Mapping[str, str], data: str) -> dict[str, Any] | None:
    """Return the settings of the architecture that files have in common, None where none need be said.

    Raises:
        SpecificationError: If the files differ, or their tensors fit no bundled architecture, or several.
    """
    from weightscape.cli.inputs import inputs_of_data
    from weightscape.models.recognition import recognise, shapes_of
    from weightscape.weights.files import load_weights

    shape, classes = inputs_of_data(data)
    shapes = {name: shapes_of(load_weights(path)) for name, path in paths.items()}
    (first, path), *others = paths.items()
    for name, other in others:
        if shapes[name] != shapes[first]:
            expected = f"weights with the tensors of {path}"
            received = f"{other}, {_difference(shapes[first], shapes[name])}"
            raise SpecificationError([Problem(name.upper(), expected, received)])
    found = recognise(shapes[first], shape=shape, classes=classes)
    if len(found) == 1:
        return {"name": found[0].name, **found[0].model_dump(mode="json", exclude_defaults=True)}
    if not operation.settings.model_fields[option].is_required() and not _is_network(shapes[first]):
        return None  # a stored representation, say
    names = ", ".join(candidate.name for candidate in found)
    fits = f"several: {names}" if found else f"no bundled one{_closest(shapes[first], shape, classes)}"
    remedy = "Name it, as a bundled name, settings or a dotted path of your own: {} my_module.MyNetwork."
    channels = next((tensor[1] for tensor in shapes[first].values() if len(tensor) == 4), shape[0])
    elsewhere = [] if found else recognise(shapes[first], shape=(channels, *shape[1:]), classes=classes)
    if elsewhere:
        remedy = f"For images with {channels} channels it is {elsewhere[0].name}: take data with as many channels."
    flag = option_flag(option)
    place = f"{flag}, for images {' x '.join(map(str, shape))} and {classes} classes"
    received = f"{path}, whose tensors fit {fits}"
    problem = Problem(place, "the architecture of the weights", received, remedy.format(flag))
    raise SpecificationError([problem])


def _is_network(shapes: Shapes) -> bool:
    return any(name.rpartition(".")[2] in {"weight", "bias"} for name in shapes)


def _closest(shapes: Shapes, shape: tuple[int, int, int], classes: int) -> str:
    """Return in words which architecture has most of the tensors, and which of them differ."""
    from weightscape.models.filling import differences, listed
    from weightscape.models.recognition import closest

    near = closest(shapes, shape=shape, classes=classes)
    return f"; {near[0].name} is close, but {listed(differences(near[1], shapes))}" if near else ""


def _difference(expected: Shapes, received: Shapes) -> str:
    """Return the first tensor that is not the same."""
    for name in (*expected, *received):
        if expected.get(name) != received.get(name):
            return f"where {name} is {received.get(name, 'missing')}, not {expected.get(name, 'there')}"
    return ""
