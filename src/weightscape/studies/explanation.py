"""Translate pydantic's errors into problems with places and remedies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from weightscape.errors import Problem, did_you_mean
from weightscape.studies.document import Document, Location

_LONGEST = 80
# Validators of this package may say everything themselves: "expected X, received Y. Remedy."
_WHOLE_SENTENCE = re.compile(r"expected (?P<expected>.+), received (?P<received>.+?)(?:\. (?P<remedy>.*))?")


def explain(
    error: ValidationError,
    model: type[BaseModel],
    document: Document,
    base: Location = (),
    moved: Mapping[str, Location] | None = None,
) -> list[Problem]:
    """Return what pydantic found as problems; the branches of a union become one.

    Args:
        error: What pydantic found.
        model: The model that was validated.
        document: The document in which the values were written.
        base: Location of the validated part in the document.
        moved: Locations of options, by dotted path, that were written somewhere else (in a grid).
    """
    found: dict[Location, list[Problem]] = {}
    for item in error.errors(include_url=False):
        location = _location(item, document, base, moved or {})
        found.setdefault(location, []).append(_problem(item, document.where(location), model))
    within = {location[:length] for location in found for length in range(len(location))}
    return [
        problem
        for location, problems in found.items()
        # Another branch of the same union failed further inside, which says more.
        if location not in within or any(known.received == "none" for known in problems)
        for problem in _merged(problems)
    ]


def _location(item: Any, document: Document, base: Location, moved: Mapping[str, Location]) -> Location:
    for option, place in moved.items():
        if _is_subsequence(option.split("."), item["loc"]):
            return place
    # pydantic puts the tags of unions into its paths; what is not in the document is such a tag, or is missing.
    location = base
    for index, part in enumerate(item["loc"]):
        is_a_key = item["type"] in {"missing", "extra_forbidden"} and index == len(item["loc"]) - 1
        if (*location, part) in document.places or is_a_key:
            location = (*location, part)
    return location


def _is_subsequence(parts: list[str], loc: tuple[str | int, ...]) -> bool:
    remaining: Iterator[str | int] = iter(loc)
    return all(part in remaining for part in parts)


def _merged(problems: list[Problem]) -> list[Problem]:
    if len(problems) == 1 or any(problem.received != problems[0].received for problem in problems):
        return list(dict.fromkeys(problems))
    first = problems[0]
    expected = " or ".join(dict.fromkeys(problem.expected for problem in problems))
    return [Problem(first.where, expected, first.received, first.remedy)]


def _problem(item: Any, where: str, model: type[BaseModel]) -> Problem:
    kind, loc = item["type"], item["loc"]
    name = str(loc[-1]) if loc else ""
    if kind == "extra_forbidden":
        return Problem(where, "a known option", repr(name), did_you_mean(name, option_names(model, loc[:-1])))
    if kind == "missing":
        remedy = "It has no default and no input supplies it: name it here."
        if name.endswith("model"):
            remedy = f"{remedy[:-1]}, or as 'model' where the weights are imported."
        return Problem(where, f"a value for {name!r}", "none", remedy)
    if kind in {"union_tag_not_found", "union_tag_invalid"}:
        return _wrong_name(item, where, model)
    if kind == "string_pattern_mismatch":
        return Problem(where, f"text that matches {item['ctx']['pattern']}", _shown(item["input"]))
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input should be ").rstrip(".")
    if whole := _WHOLE_SENTENCE.fullmatch(message):
        remedy = f"{whole['remedy']}." if whole["remedy"] and whole["remedy"][-1] not in ".?" else whole["remedy"] or ""
        return Problem(where, whole["expected"], whole["received"], remedy)
    return Problem(where, message, _shown(item["input"]))


def _wrong_name(item: Any, where: str, model: type[BaseModel]) -> Problem:
    tags = str(item["ctx"].get("expected_tags", "")) or ", ".join(map(repr, _tags(model, item["loc"])))
    tag = str(item["ctx"].get("tag", ""))
    if not tag:
        remedy = "Write, for example, '{name: ...}'."
        return Problem(where, f"a 'name' out of {tags}", f"none in {_shown(item['input'])}", remedy)
    return Problem(where, f"a 'name' out of {tags}", repr(tag), did_you_mean(tag, tags.replace("'", "").split(", ")))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < _LONGEST else text[: _LONGEST - 3] + "..."


def option_names(model: type[BaseModel], loc: tuple[str | int, ...] = ()) -> set[str]:
    """Return the options that a model has at a path of field names; tags of unions in the path are passed over."""
    models = {model}
    for part in loc:
        inner = {found for known in models if part in _fields(known) for found in _models(_fields(known)[str(part)])}
        tagged = {known for known in models if _is_tagged(known, str(part))}
        models = inner or tagged or models
    return {name for known in models for name in _fields(known)}


def _is_tagged(model: type[BaseModel], tag: str) -> bool:
    return model.__name__.lower() == tag.lower() or tag in get_args(_fields(model).get("name"))


def _tags(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    parents = [model] if loc else []
    for part in loc[:-1]:
        parents = [found for known in parents if part in _fields(known) for found in _models(_fields(known)[str(part)])]
    models = [found for known in parents for found in _models(_fields(known).get(str(loc[-1])))]
    return [str(tag) for known in models for tag in get_args(_fields(known).get("name"))]


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
