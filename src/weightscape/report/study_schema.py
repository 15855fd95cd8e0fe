"""The JSON Schema of a whole study file: its stages, its figures, and how it extends another."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from weightscape.figures import registry
from weightscape.studies.schema import Schema, stage_schemas
from weightscape.studies.specification import StudySettings

_DOTTED: Schema = {"type": "string", "pattern": "[.:]"}


def study_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of study files, for the operations and figures installed here.

    A study that extends another is checked loosely: what it leaves out and what it removes by ``null`` depends on the
    other one.
    """
    stage, definitions = stage_schemas()
    name = StudySettings.model_json_schema()["properties"]["study"]["pattern"]
    anything = {"type": ["object", "null"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of weightscape",
        "type": "object",
        "properties": {
            "study": {"type": "string", "pattern": name},
            "about": {"type": "string"},
            "extends": {"type": "string"},
            "stages": {"type": "object", "propertyNames": {"pattern": name}},
            "figures": {"type": "object", "propertyNames": {"pattern": name}},
        },
        "additionalProperties": False,
        "if": {"required": ["extends"]},
        "then": {"properties": {part: {"additionalProperties": anything} for part in ("stages", "figures")}},
        "else": {
            "required": ["study", "stages"],
            "properties": {
                "stages": {"minProperties": 1, "additionalProperties": {"$ref": "#/$defs/stage"}},
                "figures": {"additionalProperties": {"$ref": "#/$defs/figure"}},
            },
        },
        "$defs": {"stage": stage, "figure": _figure(), **definitions},
    }


def _figure() -> Schema:
    names = list(registry.names())
    table: Schema = {"type": "string"}
    return {
        "type": "object",
        "properties": {
            "draw": {"anyOf": [{"enum": names}, _DOTTED]},
            "from": {"anyOf": [table, {"type": "object", "additionalProperties": table}]},
            "with": {"type": "object"},
        },
        "required": ["draw", "from"],
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"draw": {"const": name}}, "required": ["draw"]},
                "then": {"properties": _figure_parts(registry.find(name))},
            }
            for name in names
        ],
    }


def _figure_parts(entry: registry.FigureEntry) -> Schema:
    hints = _hints(entry)
    options = {name: _option(hints.get(name)) for name in entry.options}
    tables: Schema = {name: {} for name in entry.tables}
    required = [name for name in entry.required_tables if len(entry.required_tables) > 1]
    return {
        "with": {"properties": options, "additionalProperties": False},
        "from": {
            "if": {"type": "object"},
            "then": {"properties": tables, "required": required, "additionalProperties": False},
        },
    }


def _hints(entry: registry.FigureEntry) -> dict[str, Any]:
    """Return the types of the options that can be told without loading what type checkers alone import."""
    function, found = entry.function, {}
    for name, parameter in entry.options.items():
        annotation = parameter.annotation
        try:
            found[name] = eval(annotation, getattr(function, "__globals__", {}), vars(typing))
        except (NameError, TypeError):
            continue
    return found


def _option(hint: Any) -> Schema:
    if hint is None:
        return {}
    try:
        return TypeAdapter(hint).json_schema()
    except PydanticUserError:
        return {}
