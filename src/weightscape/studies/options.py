"""The options of a stage: its grid, what it inherits from its inputs, and their validation."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from weightscape.operation import Operation
from weightscape.parameters import Inherited
from weightscape.studies.document import Location
from weightscape.studies.explanation import explain
from weightscape.studies.inputs import Combination
from weightscape.studies.problems import Problems
from weightscape.studies.specification import Stage, assign


class Configuration(NamedTuple):
    """The options of one point of a grid, and where those that the grid sets were written."""

    options: dict[str, Any]
    places: dict[str, Location]


def configurations(name: str, stage: Stage, problems: Problems) -> Iterator[Configuration]:
    """Yield the options of each point of the grid; the last axis varies fastest."""
    for option, values in stage.grid.items():
        if not values:
            problems.add(("stages", name, "grid", option), "at least one value", "an empty list")
    for point in product(*(enumerate(values) for values in stage.grid.values())):
        options = copy.deepcopy(stage.settings)
        places: dict[str, Location] = {}
        for option, (index, value) in zip(stage.grid, point, strict=True):
            assign(options, option, copy.deepcopy(value))
            places[option] = ("stages", name, "grid", option, index)
        yield Configuration(options, places)


def inherited(
    name: str, operation: Operation, combination: Combination, options: Mapping[str, Any], problems: Problems
) -> dict[str, Any]:
    """Return the options that `options` omits and inputs supply: required ones, and those marked as inherited."""
    found: dict[str, Any] = {}
    for option, declared in operation.settings.model_fields.items():
        if option in options or not (declared.is_required() or Inherited in declared.metadata):
            continue
        values = _offered(option, combination)
        if not values:
            continue
        if any(value != values[0] for value in values):
            remedy = f"Write {option!r} in 'with', or join rows that agree."
            problems.add(("stages", name, "with"), f"inputs that agree about {option!r}", "different values", remedy)
        found[option] = values[0]
    return found


def _offered(option: str, combination: Combination) -> list[Any]:
    """Return what the inputs say of an option.

    An option that names an input is its own: ``front_model`` is the ``model`` of ``front``. Others are common to all.
    """
    owners = [parameter for parameter in combination if option.startswith(f"{parameter}_")]
    if owners:
        owner = max(owners, key=len)
        column, members = option.removeprefix(f"{owner}_"), combination[owner]
    else:
        column, members = option, [member for every in combination.values() for member in every]
    return [member.settings[column] for member in members if member.settings.get(column) is not None]


def validated(
    name: str,
    operation: Operation,
    options: Mapping[str, Any],
    places: Mapping[str, Location],
    problems: Problems,
    *,
    partly: bool = False,
) -> BaseModel | None:
    """Return validated settings, or collect what is wrong with them.

    Args:
        name: Name of the stage.
        operation: The operation.
        options: Its options as written.
        places: Where options of the grid were written.
        problems: Collects mistakes.
        partly: Whether options may be missing because inputs would supply them.
    """
    try:
        settings = operation.settings.model_validate(with_tags(options, operation.settings))
    except ValidationError as error:
        base: Location = ("stages", name, "with")
        found = explain(error, operation.settings, problems.document, base, places)
        problems.extend(problem for problem in found if not (partly and problem.received == "none"))
        return None
    plain = settings.model_dump(mode="python")
    wrong = [(option, "a finite number", value) for option, value in _infinite(plain)]
    wrong += [(option, "a number, not true or false", value) for option, value in _booleans(options, plain)]
    for option, expected, value in wrong:
        place = places.get(".".join(map(str, option)), ("stages", name, "with", *option))
        problems.add(place, expected, repr(value))
    apart = operation.fits(settings) if operation.fits and not wrong else ()
    for problem in apart:
        problems.add(place_of(name, problem.where, places), problem.expected, problem.received, problem.remedy)
    return None if wrong or apart else settings


def place_of(name: str, option: str, places: Mapping[str, Location]) -> Location:
    """Return where an option of a stage is written, if it is: in its grid, or under 'with'; empty stands for all."""
    return places.get(option, ("stages", name, "with", *filter(None, [option])))


def _booleans(given: Any, validated: Any, location: Location = ()) -> Iterator[tuple[Location, bool]]:
    """Yield what was written as true or false and would become 1 or 0, as Python's own booleans do, with its path."""
    if isinstance(given, bool) and not isinstance(validated, bool) and isinstance(validated, int | float):
        yield location, given
    elif isinstance(given, Mapping) and isinstance(validated, Mapping):
        for name in (name for name in given if name in validated):
            yield from _booleans(given[name], validated[name], (*location, name))
    elif isinstance(given, list | tuple) and isinstance(validated, list | tuple):
        for index, (left, right) in enumerate(zip(given, validated, strict=False)):
            yield from _booleans(left, right, (*location, index))


def _infinite(value: Any, location: Location = ()) -> Iterator[tuple[Location, float]]:
    """Yield the numbers that a key cannot be made of, each with its path."""
    if isinstance(value, float) and not math.isfinite(value):
        yield location, value
    elif isinstance(value, Mapping):
        for name, member in value.items():
            yield from _infinite(member, (*location, name))
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _infinite(member, (*location, index))


def with_tags(options: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Return options in which a part without a ``name`` changes the default variant: ``optimizer: {lr: 0.1}``."""
    filled = dict(options)
    for option, declared in model.model_fields.items():
        value, default = filled.get(option), declared.default
        if not (isinstance(value, Mapping) and isinstance(default, BaseModel)):
            continue
        tag = getattr(default, "name", None)
        if tag is None or value.get("name", tag) == tag:
            value = with_tags(value, type(default))
            filled[option] = value if tag is None else {"name": tag, **value}
    return filled
