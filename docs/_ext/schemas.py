"""Read the options of an operation, with types, defaults and descriptions, from its signature and docstrings."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

_SECTION = re.compile(r"^(Attributes|Args):\n((?:(?: {4}.*)?\n?)+)", re.MULTILINE)
_ALL = "all defaults"
_WORDS = {
    "Custom": "your own",
    "Library": "one of timm or torchvision",
    "OwnLoss": "your own",
    "OwnSchedule": "your own",
    "DataSettings": "a data set, a mapping",
    "OwnTransform": "`my_module.my_transform`",
    "MeanAndStd": "mean and standard deviation",
}
_ENTRY = re.compile(r"^ {4}(\w+): ((?:.|\n {5,})*)", re.MULTILINE)


class Option(NamedTuple):
    """One option: its name, its type in words, its default as YAML (None when it is required), what it means."""

    name: str
    kind: str
    default: str | None
    meaning: str


def descriptions(source: Callable[..., Any] | type) -> dict[str, str]:
    """Return what docstrings say about each attribute or argument, as Markdown; of a class, those of its bases too."""
    found: dict[str, str] = {}
    for one in reversed(inspect.getmro(source)) if isinstance(source, type) else (source,):
        for section in _SECTION.finditer(inspect.getdoc(one) or ""):
            for entry in _ENTRY.finditer(section[2]):
                found[entry[1]] = markdown(entry[2])
    return found


def markdown(text: str) -> str:
    """Return a docstring's sentence as Markdown on one line: roles become code."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", " ".join(text.split()))
    return text.replace("``", "`")


def options(model: type[BaseModel], described: dict[str, str] | None = None) -> list[Option]:
    """Return the options of a pydantic model in the order of declaration."""
    known = {**descriptions(model), **(described or {})}
    return [
        Option(name, kind(field.annotation), _default(field.default), known.get(name, ""))
        for name, field in model.model_fields.items()
    ]


def parts(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that can stand at an annotation, and those inside them, each once, outer ones first."""
    seen: dict[type[BaseModel], None] = {}
    _collect(annotation, seen)
    yield from seen


def _collect(annotation: Any, seen: dict[type[BaseModel], None]) -> None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in seen:
            seen[annotation] = None
            for field in annotation.model_fields.values():
                _collect(field.annotation, seen)
        return
    for argument in get_args(annotation):
        _collect(argument, seen)


def variants(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the names by which a tagged variant is chosen; none for an untagged model."""
    field = model.model_fields.get("name")
    return tuple(get_args(field.annotation)) if field and get_origin(field.annotation) is typing.Literal else ()


def kind(annotation: Any) -> str:
    """Return a type in words, as Markdown."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        names = variants(annotation)
        return ", ".join(f"`{name}`" for name in names) or _WORDS.get(annotation.__name__, "a mapping")
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return kind(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin in {tuple, list}:
        inner = [kind(argument) for argument in arguments if argument is not Ellipsis]
        return f"list of {_plural(inner[0])}" if Ellipsis in arguments or origin is list else f"[{', '.join(inner)}]"
    if arguments:
        known = dict.fromkeys(kind(argument) for argument in arguments if argument is not type(None))
        return ", ".join(known)
    words = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}
    return words.get(annotation) or str(getattr(annotation, "__name__", annotation)).lower()


def _default(value: Any) -> str | None:
    if value is PydanticUndefined:
        return None
    if value is None:
        return ""
    return _yaml(value) if _is_plain(value) else f"`{_yaml(value)}`"


def _is_plain(value: Any) -> bool:
    return isinstance(value, BaseModel) and _yaml(value) == _ALL


def _plural(words: str) -> str:
    return f"{words.removeprefix('a ')}s" if words[-1].isalpha() else words


def _yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        if value == type(value).model_construct() or not value.model_dump(exclude_defaults=True):
            return _ALL
        inner = value.model_dump(mode="json", exclude_defaults=True)
        return str(inner["name"]) if set(inner) == {"name"} else _yaml(inner)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_yaml(member)}" for name, member in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
