"""Read YAML with the place of every value.

The loader builds plain data only, reads scalars by the YAML 1.2 core schema (``1e-4`` is a number, ``no`` is a string)
and refuses duplicate keys, aliases that expand without bound and merge keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from weightscape.errors import Problem, SpecificationError

Location = tuple[str | int, ...]
_MOST_VALUES = 100_000
_DIGITS = 100
_SCALARS = [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
]
_PATTERNS = {kind: re.compile(rf"^(?:{pattern})$") for kind, pattern, _ in _SCALARS} | {"str": re.compile("")}


class _Loader(yaml.SafeLoader):
    """A safe loader with the scalars of YAML 1.2."""


_Loader.yaml_implicit_resolvers = {}
for _kind, _, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _PATTERNS[_kind], _first)


@dataclass
class Document:
    """Plain data and where each part of it was written.

    Attributes:
        data: What the YAML says.
        places: ``file:line:column`` by path of keys and positions.
    """

    data: Any
    places: dict[Location, str] = field(default_factory=dict)

    def place(self, location: Location) -> str:
        """Return where a value was written, or where the closest value around it was."""
        for length in range(len(location), -1, -1):
            if location[:length] in self.places:
                return self.places[location[:length]]
        return ""

    def where(self, location: Location) -> str:
        """Return the place together with the dotted path, as problems show it."""
        path = ".".join(map(str, location))
        place = self.place(location)
        return f"{place} ({path})" if place and path else place or path


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.places: dict[Location, str] = {}
        self.problems: list[Problem] = []

    def read(self, node: yaml.Node, location: Location = ()) -> Any:
        self.places[location] = self._mark(node)
        if len(self.places) > _MOST_VALUES:
            raise SpecificationError([Problem(self.name, f"at most {_MOST_VALUES} values", "more", "Split the study.")])
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if not _is_plain(node, kind):
            self._problem(node, "plain values", f"the tag {node.tag!r}", "Remove the tag.")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*location, index)) for index, child in enumerate(node.value)]
        if kind == "int" and len(node.value) > _DIGITS:
            self._problem(node, f"a number of at most {_DIGITS} digits", f"{len(node.value)} digits", "")
            return None
        return _scalar(str(node.value), kind)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, "plain keys", "a list or a mapping as key", "Write a text before the colon.")
                continue
            key = str(key_node.value)
            if key in result:
                self._problem(key_node, "each key once", f"{key!r} a second time", "Remove one of them.")
            if key == "<<":
                self._problem(key_node, "plain keys", "the merge key '<<'", "Use 'extends' to build on another study.")
            result[key] = self.read(value_node, (*location, key))
        return result

    def _mark(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def _problem(self, node: yaml.Node, expected: str, received: str, remedy: str) -> None:
        self.problems.append(Problem(self._mark(node), expected, received, remedy))


def _is_plain(node: yaml.Node, kind: str) -> bool:
    """Return whether a node is what its tag says, also where the tag was written by hand."""
    if not isinstance(node, yaml.ScalarNode):
        return kind == ("map" if isinstance(node, yaml.MappingNode) else "seq")
    return kind in _PATTERNS and bool(_PATTERNS[kind].match(node.value))


def _scalar(text: str, kind: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return int(text, 0 if text[:2] in {"0o", "0x"} else 10)
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def read_text(text: str, name: str = "study") -> Document:
    """Read YAML text.

    Args:
        text: The document.
        name: Name to show in the places.

    Raises:
        SpecificationError: If the text is not YAML of plain data; all faults that can be told apart are listed.
    """
    try:
        return _read(text, name)
    except RecursionError:
        remedy = "Remove an alias to the part that it stands in, or brackets."
        received = "values nested without end"
        raise SpecificationError([Problem(name, "values nested a few levels deep", received, remedy)]) from None


def _read(text: str, name: str) -> Document:
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        reason = getattr(error, "problem", None) or str(error).split("\n", 1)[0]
        raise SpecificationError(
            [Problem(place, "valid YAML", str(reason), "Check indentation, quotes and brackets.")]
        ) from error
    if node is None:
        raise SpecificationError([Problem(name, "a study", "an empty document")])
    reader = _Reader(name)
    data = reader.read(node)
    if reader.problems:
        raise SpecificationError(reader.problems)
    return Document(data, reader.places)


def read_file(path: str | Path) -> Document:
    """Read a YAML file.

    Raises:
        SpecificationError: If the file cannot be read or is not YAML of plain data.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecificationError(
            [Problem(str(path), "a readable text file", f"{type(error).__name__}: {error}")]
        ) from error
    return read_text(text, path.name)


def read_value(text: str) -> Any:
    """Read the YAML value of a command-line option, such as ``0.1``, ``[1, 2]`` or ``{name: sgd, lr: 0.1}``."""
    return read_text(text, "value").data if text.strip() else ""


def merge(base: Document, child: Document) -> Document:
    """Return `base` overridden by `child`: mappings are merged key by key, a null removes, all else replaces."""
    places = dict(base.places)
    data = _merge(base.data, child.data, (), places, child.places)
    return Document(data, places)


def _merge(base: Any, child: Any, location: Location, places: dict[Location, str], news: dict[Location, str]) -> Any:
    if not (isinstance(base, dict) and isinstance(child, dict)):
        for known in [known for known in places if known[: len(location)] == location]:
            del places[known]
        places.update({known: place for known, place in news.items() if known[: len(location)] == location})
        return child
    merged = dict(base)
    for key, value in child.items():
        if value is None:
            merged.pop(key, None)
        elif key in base:
            merged[key] = _merge(base[key], value, (*location, key), places, news)
        else:
            places.update(
                {known: place for known, place in news.items() if known[: len(location) + 1] == (*location, key)}
            )
            merged[key] = value
    return merged
