"""Collect every mistake of a study, with its place, before anything is raised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from weightscape.errors import Problem, SpecificationError, did_you_mean
from weightscape.studies.document import Document, Location


class Problems:
    """A list of mistakes that knows the document they are in.

    Args:
        document: Where the mistakes are made.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self._found: dict[Problem, None] = {}

    def __len__(self) -> int:
        return len(self._found)

    def where(self, location: Location) -> str:
        """Return the place of a location, as problems show it."""
        return self.document.where(location)

    def add(self, location: Location, expected: str, received: str, remedy: str = "") -> None:
        """Add a mistake made at a location of the document."""
        self.extend([Problem(self.where(location), expected, received, remedy)])

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add mistakes, each once."""
        self._found.update(dict.fromkeys(problems))

    def raise_if_any(self) -> None:
        """Raise what was collected.

        Raises:
            SpecificationError: If anything was.
        """
        if self._found:
            raise SpecificationError(self._found)


def explain(
    error: ValidationError,
    model: type[BaseModel],
    document: Document,
    base: Location = (),
    moved: Mapping[str, Location] | None = None,
) -> list[Problem]:
    """Translate pydantic's errors into problems with places and remedies.

    Args:
        error: What pydantic found.
        model: The model that was validated.
        document: The document in which the values were written.
        base: Location of the validated part in the document.
        moved: Locations of options, by dotted path, that were written somewhere else (in a grid).
    """
    problems = []
    for item in error.errors(include_url=False):
        place = _location(item["loc"], document, base, moved or {})
        problems.append(_explain(item, document.where(place), model))
    return list(dict.fromkeys(problems))


def _location(
    loc: tuple[str | int, ...], document: Document, base: Location, moved: Mapping[str, Location]
) -> Location:
    for option, place in moved.items():
        if _is_subsequence(option.split("."), loc):
            return place
    # pydantic puts the tags of unions into its paths; what is not in the document is such a tag, or is missing.
    location = base
    for index, part in enumerate(loc):
        if (*location, part) in document.places or index == len(loc) - 1:
            location = (*location, part)
    return location


def _is_subsequence(parts: list[str], loc: tuple[str | int, ...]) -> bool:
    remaining: Iterator[str | int] = iter(loc)
    return all(part in remaining for part in parts)


def _explain(item: Any, where: str, model: type[BaseModel]) -> Problem:
    kind, loc = item["type"], item["loc"]
    name = str(loc[-1]) if loc else ""
    if kind == "extra_forbidden":
        return Problem(where, "a known option", repr(name), did_you_mean(name, option_names(model, loc[:-1])))
    if kind == "missing":
        return Problem(where, f"a value for {name!r}", "none", "It has no default and no input supplies it.")
    if kind in {"union_tag_not_found", "union_tag_invalid"}:
        tags = str(item["ctx"].get("expected_tags", "")) or ", ".join(map(repr, _tags(model, loc)))
        tag = str(item["ctx"].get("tag", ""))
        received = repr(tag) if tag else f"none in {item['input']!r}"
        remedy = did_you_mean(tag, tags.replace("'", "").split(", ")) if tag else "Write, for example, '{name: ...}'."
        return Problem(where, f"a 'name' out of {tags}", received, remedy)
    received = repr(item["input"])
    received = received if len(received) < 80 else received[:77] + "..."
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input should be ").rstrip(".")
    return Problem(where, message, received)


def option_names(model: type[BaseModel], loc: tuple[str | int, ...] = ()) -> set[str]:
    """Return the options that a model has at a path of field names; tags of unions in the path are passed over."""
    models = {model}
    for part in loc:
        inner = {found for known in models if part in _fields(known) for found in _models(_fields(known)[str(part)])}
        tagged = {known for known in models if known.__name__.lower() == str(part).lower()}
        models = inner or tagged or models
    return {name for known in models for name in _fields(known)}


def _tags(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    parents = [known for known in [model] if loc]
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
