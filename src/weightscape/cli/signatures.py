"""The signature of an operation in words, for ``--help``."""

from __future__ import annotations

import inspect
import re
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from weightscape.parameters import Inherited, Positional

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from weightscape.operation import Operation

_SECTIONS = re.compile(r"^(Args|Returns|Raises|Yields|Examples?|Attributes):$", re.MULTILINE)
_ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def option_flag(name: str) -> str:
    """Return the flag of a setting.

    >>> option_flag("batch_norm")
    '--batch-norm'
    """
    return "--" + name.replace("_", "-")


def place_of(operation: Operation, name: str) -> str:
    """Return where the one-line command takes a setting: by its flag, or by the name of its place."""
    field = operation.settings.model_fields.get(name)
    return name.upper() if field is not None and is_positional(field) else option_flag(name)


def is_positional(field: FieldInfo) -> bool:
    """Return whether the one-line command takes a setting by its place."""
    return Positional in field.metadata


def description(operation: Operation) -> str:
    """Return what an operation does, with rich's markup escaped."""
    from rich.markup import escape

    body = _SECTIONS.split(inspect.getdoc(operation.function) or "")[0].strip().replace("``", "'")
    return escape("\n\n".join(map(_flowing, re.split(r"\n\s*\n", body))))


def _flowing(paragraph: str) -> str:
    """Return a paragraph as one line, for the terminal to break; lists and indented text stay as they are."""
    listed = re.search(r"^(\s|[-*] )", paragraph, re.MULTILINE)
    return paragraph if listed else " ".join(paragraph.split())


def meanings(operation: Operation) -> dict[str, str]:
    """Return what the ``Args:`` of an operation's docstring say, by parameter, with rich's markup escaped."""
    from rich.markup import escape

    parts = _SECTIONS.split(inspect.getdoc(operation.function) or "")
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    found = _ARGUMENT.finditer(sections.get("Args", ""))
    return {entry[1]: escape(" ".join(entry[2].replace("``", "'").split())) + " " for entry in found}


def default_text(field: FieldInfo, *, inherits: bool) -> str:
    """Return where the value of a setting comes from when it is not given.

    Args:
        field: The setting.
        inherits: Whether inputs may supply it.
    """
    from rich.markup import escape

    if inherits and Inherited in field.metadata:
        return escape("[from the inputs where they say it]")
    if field.is_required():
        return escape("[from the inputs, else required]" if inherits else "[required]")
    return escape(f"[default: {plain_text(field.get_default(call_default_factory=True))}]")


def plain_text(value: Any) -> str:
    """Return a default as it would be written in YAML.

    >>> plain_text(None), plain_text(True), plain_text((1, 2)), plain_text("ends")
    ('none', 'true', '[1, 2]', 'ends')
    """
    if isinstance(value, BaseModel):
        tag = getattr(value, "name", None)
        return str(tag) if tag else plain_text({name: getattr(value, name) for name in type(value).model_fields})
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {plain_text(member)}" for name, member in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(plain_text, value)) + "]"
    if value is None or value is PydanticUndefined:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def type_text(annotation: Any) -> str:
    """Return a type in words.

    >>> type_text(int | None), type_text(Literal["a", "b"]), type_text(tuple[float, ...]), type_text(str)
    ('int', 'a | b', 'list of float', 'text')
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(arguments[0])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in {Union, UnionType}:
        return " | ".join(dict.fromkeys(type_text(member) for member in arguments if member is not NoneType))
    if origin in {list, tuple, set, frozenset}:
        members = dict.fromkeys(type_text(member) for member in arguments if member is not Ellipsis)
        return f"list of {' | '.join(members)}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _model_text(annotation)
    known: dict[Any, str] = {str: "text", bool: "true | false"}
    return known.get(annotation, str(getattr(annotation, "__name__", annotation)).lower())


def _model_text(model: type[BaseModel]) -> str:
    names = model.model_fields.get("name")
    if names is not None:
        tags = [str(tag) for tag in get_args(names.annotation)]
        return " | ".join(tags) if tags else ("name" if len(model.model_fields) > 1 else "module.name")
    return "settings {" + ", ".join(model.model_fields) + "}"
