"""Figures by name: which tables a figure takes, which options, and the function that draws it.

Loads neither matplotlib nor pandas nor torch, so that a study is checked without them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from weightscape.errors import Problem, SpecificationError, WeightscapeError, did_you_mean
from weightscape.source import import_dotted

Function = TypeVar("Function", bound=Callable[..., Any])

_MODULES = (
    "barrier",
    "difference_budget",
    "layer_matrix",
    "learning_curve",
    "match_summary",
    "similarity_curve",
    "stitch_interpolation",
    "stitch_masks",
    "stitch_course",
    "stitch_map",
    "stitch_matching",
    "stitch_matrix",
    "stitch_rank",
    "stitch_similarity",
    "stitch_sparsity",
    "stitch_training",
    "stitch_width",
    "transfer_cosine",
    "transfer_curve",
)
_ENTRIES: dict[str, FigureEntry] = {}


class FigureError(WeightscapeError):
    """A figure does not exist, or the tables given to it do not fit."""


@dataclass(frozen=True)
class FigureEntry:
    """A figure and what it takes.

    Attributes:
        name: The name in a study's ``draw``.
        function: Tables and options in, a matplotlib figure (or its axes) out.
        tables: Parameters that take a table, in order.
        options: All other parameters by name.
    """

    name: str
    function: Callable[..., Any]
    tables: tuple[str, ...]
    options: Mapping[str, inspect.Parameter]

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def required_tables(self) -> tuple[str, ...]:
        """The tables without which the figure cannot be drawn."""
        parameters = inspect.signature(self.function).parameters
        return tuple(name for name in self.tables if parameters[name].default is inspect.Parameter.empty)

    def bind(self, tables: Iterable[str], options: Mapping[str, Any], *, where: str = "") -> dict[str, Any]:
        """Check the names of the tables and the options, and return the options as the function wants them.

        Args:
            tables: Names of the tables that will be given.
            options: Option values as read from a study.
            where: Place of the figure in the user's input, put before ``from.NAME`` and ``with.NAME``.

        Raises:
            SpecificationError: With every problem that was found.
        """
        place = f"{where}." if where else ""
        problems = _name_problems(f"{place}from", tables, self.tables, self.required_tables, "a table")
        required = [name for name, option in self.options.items() if option.default is inspect.Parameter.empty]
        problems += _name_problems(f"{place}with", options, tuple(self.options), tuple(required), "an option")
        values: dict[str, Any] = {}
        for name, value in options.items():
            if name in self.options:
                try:
                    values[name] = _validated(self.function, self.options[name], value)
                except ValueError as error:
                    problems.append(Problem(f"{place}with.{name}", str(error), repr(value)))
        if problems:
            raise SpecificationError(problems)
        return values


def figure(name: str) -> Callable[[Function], Function]:
    """Register a function of tables as the figure `name`; the function itself stays as it is.

    Parameters without a default, and those annotated ``Table`` or ``DataFrame``, are tables; the others are options.

    Raises:
        FigureError: If another function has that name already.
    """

    def register(function: Function) -> Function:
        other = _ENTRIES.get(name)
        if other is not None and _identity(other.function) != _identity(function):
            raise FigureError(f"A figure's name is used once; {name!r} is {_identity(other.function)} already.")
        _ENTRIES[name] = entry_of(function, name)
        return function

    return register


def entry_of(function: Callable[..., Any], name: str) -> FigureEntry:
    """Read from a function's signature what it takes."""
    parameters = inspect.signature(function).parameters
    tables = tuple(key for key, parameter in parameters.items() if _is_table(parameter))
    options = {
        key: parameter
        for key, parameter in parameters.items()
        if key not in tables and parameter.kind not in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}
    }
    return FigureEntry(name, function, tables, options)


def find(name: str) -> FigureEntry:
    """Return the figure of that name, or the user's function at that dotted path (``module.function``).

    Raises:
        FigureError: If there is no such figure.
    """
    _load_built_in()
    if name in _ENTRIES:
        return _ENTRIES[name]
    if "." not in name and ":" not in name:
        raise FigureError(
            f"{name!r} is no figure. {did_you_mean(name, _ENTRIES)} "
            "A figure of your own is a dotted path: module.function."
        )
    function = import_dotted(name)
    if not callable(function):
        raise FigureError(f"A figure is a function of tables, {name!r} is a {type(function).__name__}.")
    return entry_of(function, name)


def names() -> tuple[str, ...]:
    """Return the names of all registered figures, sorted."""
    _load_built_in()
    return tuple(sorted(_ENTRIES))


def _load_built_in() -> None:
    for module in _MODULES:
        importlib.import_module(f"weightscape.figures.{module}")


def _identity(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"


def _is_table(parameter: inspect.Parameter) -> bool:
    if parameter.kind in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}:
        return False
    annotation = parameter.annotation if isinstance(parameter.annotation, str) else repr(parameter.annotation)
    if "Table" in annotation or "DataFrame" in annotation:
        return True
    return parameter.kind is not parameter.KEYWORD_ONLY and parameter.default is parameter.empty


def _name_problems(
    place: str, given: Iterable[str], known: tuple[str, ...], required: tuple[str, ...], what: str
) -> list[Problem]:
    given = list(given)
    unknown = [
        Problem(f"{place}.{name}", f"{what} that the figure takes", repr(name), did_you_mean(name, known))
        for name in given
        if name not in known
    ]
    missing = [Problem(place, f"{what} {name!r}", "none of that name") for name in required if name not in given]
    return unknown + missing


def _validated(function: Callable[..., Any], parameter: inspect.Parameter, value: Any) -> Any:
    """Return the value as the parameter's annotation wants it.

    Raises:
        ValueError: Saying what would have been right.
    """
    from pydantic import TypeAdapter, ValidationError

    annotation: Any = parameter.annotation
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, getattr(function, "__globals__", {}))
        except NameError:  # a name imported for type checkers only: nothing to check with
            return value
    if annotation is inspect.Parameter.empty:
        return value
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        reasons = dict.fromkeys(detail["msg"] for detail in error.errors())
        raise ValueError(f"{parameter.annotation} ({'; '.join(reasons)})") from error
