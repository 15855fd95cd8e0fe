"""From the options of a one-line command to a study of one stage, and from its mistakes back to flags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

from weightscape.cli.signatures import place_of
from weightscape.errors import Problem, SpecificationError

if TYPE_CHECKING:
    from weightscape.operation import Operation
    from weightscape.studies.specification import Study

_STUDY = "command-line"


def study_of(name: str, operation: Operation, given: Mapping[str, Any], wrong: list[Problem]) -> Study:
    """Return the study of one stage that the options amount to, each place being a flag; collect what is no option."""
    from weightscape.studies.document import Document
    from weightscape.studies.specification import apply_overrides, validate_study

    stage = re.sub(r"\W", "_", operation.name)
    inputs = {key: given[f"input_{key}"] for key in operation.inputs if given[f"input_{key}"] is not None}
    settings = {
        key: text for key in operation.settings.model_fields if (text := given.get(f"setting_{key}")) is not None
    }
    content: dict[str, Any] = {"run": name, "from": inputs, "with": {}}
    if given.get("where") is not None:
        content["where"] = given["where"]
    document = Document({"study": _STUDY, "stages": {stage: content}}, {(): f"weightscape {name}"})
    base = ("stages", stage)
    document.places |= {(*base, "from", key): key.upper() for key in inputs} | {(*base, "where"): "--where"}
    for key, text in settings.items():
        content["with"][key] = _setting(operation, key, text, wrong)
        document.places[(*base, "with", key)] = place_of(operation, key)
    for text in given["overrides"] or ():
        if re.match(r"\s*[\w.]+\s*=", text):
            with _collected(wrong, f"--set {text}"):
                apply_overrides(document, [f"{stage}.{text}"])
        else:
            wrong.append(Problem(f"--set {text}", "OPTION=VALUE", repr(text), "For example: --set recipe.epochs=3"))
    return validate_study(document)


def _setting(operation: Operation, key: str, text: str, wrong: list[Problem]) -> Any:
    """Return the value of a setting.

    What is no YAML, such as ``*.pt``, is the text itself where one is taken; so is a number where nothing but text is,
    for layers may be called ``0``.
    """
    found: list[Problem] = []
    value = _value(text, place_of(operation, key), found)
    taken = _members(operation.settings.model_fields[key].annotation)
    only_text = str in taken and set(taken) <= {str, NoneType, str | None}
    if (found and str in taken) or (only_text and isinstance(value, int | float)):
        return text
    wrong += found
    return value


def _members(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *get_args(annotation))


def _value(text: str, flag: str, wrong: list[Problem]) -> Any:
    from weightscape.studies.document import read_value

    with _collected(wrong, flag):
        return read_value(text)
    return None


@contextmanager
def _collected(wrong: list[Problem], flag: str) -> Iterator[None]:
    try:
        yield
    except SpecificationError as error:
        wrong += [Problem(flag, item.expected, item.received, item.remedy) for item in error.problems]


def as_flags(operation: Operation, problem: Problem) -> Problem:
    """Return a problem whose place is a flag, not a line of a study that nobody wrote."""
    match = re.fullmatch(r"(?P<place>.*?) ?\(stages\.\w+(?:\.with(?:\.(?P<option>[\w.]+))?)?.*\)", problem.where)
    if match is None:
        return problem
    place, option = match["place"], match["option"]
    if place.startswith("--set"):
        place = re.sub(r"^--set \w+\.", "--set ", place)
    elif option:
        head, _, nested = option.partition(".")
        place = place_of(operation, head) + (f" ({option})" if nested else "")
    return Problem(place, problem.expected, problem.received, problem.remedy)
