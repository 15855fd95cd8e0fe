"""The JSON Schema of studies, for editors and other programs that read YAML against one.

It says what planning would: every operation's options by name, type and limits, and the short forms
(``data: digits``, ``optimizer: sgd``). What depends on other stages or on data is left to planning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from weightscape.operation import Operation, find_operation, operation_names

Schema = dict[str, Any]
_REFERENCE = "#/$defs/"
_SHORT = "weightscape-short-form"
_DEEPEST = 4
_TEXTS: Schema = {"type": "array", "items": {"type": "string"}}


class _Generator(GenerateJsonSchema):
    """Adds the short forms; in a variant that is some default, ``name`` may be left out."""

    default_variants: frozenset[type] = frozenset()

    def function_before_schema(self, schema: Any) -> Schema:
        inner = super().function_before_schema(schema)
        shorts = list(_short_forms(schema["function"]["function"]))
        return {"anyOf": [inner, *({_SHORT: short} for short in shorts)]} if shorts else inner

    def model_schema(self, schema: Any) -> Schema:
        found = super().model_schema(schema)
        if schema["cls"] in self.default_variants and "name" in found.get("required", ()):
            found["required"] = [name for name in found["required"] if name != "name"]
        return found

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Schema:
        return {}


def _short_forms(prepare: Callable[..., Any]) -> Iterator[str]:
    """Yield the options that a bare value stands for: what a validator does to a text and to a number says it."""
    probes: tuple[Any, ...] = ("?", 1)
    for probe in probes:
        found: Any = None
        try:
            found = prepare(probe)
        except Exception:  # whatever a validator raises: it accepts texts, but only those that are names
            found = {"name": probe} if isinstance(probe, str) else None
        if isinstance(found, Mapping) and list(found.values()) == [probe]:
            yield next(iter(found))
        elif isinstance(found, list | tuple) and list(found) == [probe]:
            yield ""


def stage_schemas(names: Iterable[str] | None = None) -> tuple[Schema, Schema]:
    """Return the schema of a stage and the definitions it refers to.

    Args:
        names: Names of operations; all that installed packages declare by default.
    """
    operations = {name: find_operation(name) for name in (names or operation_names())}
    defaults = {variant for operation in operations.values() for variant in _default_variants(operation.settings)}
    found, shared = models_json_schema(
        [(operation.settings, "validation") for operation in operations.values()],
        schema_generator=type("_OfThese", (_Generator,), {"default_variants": frozenset(defaults)}),
        ref_template=f"{_REFERENCE}{{model}}",
    )
    definitions = shared.get("$defs", {})
    _complete(definitions, definitions)
    rules = [
        {
            "if": {"properties": {"run": {"const": name}}, "required": ["run"]},
            "then": {"properties": _stage_of(operation, found[operation.settings, "validation"], definitions)},
        }
        for name, operation in operations.items()
    ]
    return {**_form(list(operations)), "allOf": rules}, definitions


def _form(names: list[str]) -> Schema:
    """Return what holds for every stage, whatever its operation."""
    references: Schema = {"anyOf": [{"type": "string"}, {**_TEXTS, "minItems": 1}]}
    return {
        "type": "object",
        "properties": {
            "run": {"anyOf": [{"enum": names}, {"type": "string", "pattern": "[.:]"}]},
            "from": {"anyOf": [*references["anyOf"], {"type": "object", "additionalProperties": references}]},
            "where": {"type": "string"},
            "with": {"type": "object"},
            "grid": {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}},
            "group": _TEXTS,
        },
        "required": ["run"],
        "additionalProperties": False,
    }


def _stage_of(operation: Operation, reference: Schema, definitions: Schema) -> Schema:
    """Return what holds for the parts of a stage that runs an operation."""
    settings = _resolved(reference, definitions)
    options = settings.get("properties", {})
    axes: dict[str, list[Schema]] = {}
    open_ended = set()
    for path, option, is_open in _paths(options, definitions):
        axes.setdefault(path, []).append(option)
        if is_open:
            open_ended.add(path)
    grid = {
        path: {"type": "array", "minItems": 1, "items": found[0] if len(found) == 1 else {"anyOf": found}}
        for path, found in axes.items()
    }
    inputs: Schema = {name: {} for name in operation.inputs}
    return {
        "with": {"type": "object", "properties": options, "additionalProperties": False},
        "grid": {
            "properties": grid,
            "patternProperties": {f"^{re.escape(path)}[.]": {} for path in sorted(open_ended)},
            "additionalProperties": False,
        },
        "from": {"if": {"type": "object"}, "then": {"properties": inputs, "additionalProperties": False}},
    }


def _paths(
    options: Schema, definitions: Schema, prefix: str = "", above: tuple[Schema, ...] = ()
) -> Iterator[tuple[str, Schema, bool]]:
    """Yield every option that a grid can name, nested ones dotted, and whether more can be named inside it.

    Objects that can hold their own kind are opened once.
    """
    for name, option in options.items():
        inner = list(_objects(option, definitions))
        yield prefix + name, option, any(found.get("additionalProperties") is True for found in inner)
        for found in inner:
            if len(above) < _DEEPEST and not any(found is one for one in above):
                yield from _paths(found.get("properties", {}), definitions, f"{prefix}{name}.", (*above, found))


def _objects(schema: Schema, definitions: Schema) -> Iterator[Schema]:
    """Yield the objects that can stand at a place."""
    found = _resolved(schema, definitions)
    for branch in found.get("anyOf") or found.get("oneOf") or ():
        yield from _objects(branch, definitions)
    if found.get("type") == "object":
        yield found


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Schema = definitions[reference.removeprefix(_REFERENCE)]
    return found


def _complete(value: Any, definitions: Schema) -> None:
    """Replace, in place, the marks of short forms by the schema of the option they stand for; simplify unions."""
    if isinstance(value, list):
        for member in value:
            _complete(member, definitions)
    if not isinstance(value, dict):
        return
    value.pop("discriminator", None)
    if "oneOf" in value:
        value["anyOf"] = value.pop("oneOf")
    for member in list(value.values()):
        _complete(member, definitions)
    if any(_SHORT in branch for branch in value.get("anyOf", ()) if isinstance(branch, dict)):
        full = [branch for branch in value["anyOf"] if _SHORT not in branch]
        shorts = [branch[_SHORT] for branch in value["anyOf"] if _SHORT in branch]
        value["anyOf"] = full + [form for short in shorts for form in _bare(full, short, definitions)]


def _bare(full: list[Schema], option: str, definitions: Schema) -> list[Schema]:
    """Return what a bare value may be: the types of one option of the full form, or of the members of a list."""
    if not option:
        return [branch["items"] for branch in full if isinstance(branch.get("items"), dict)]
    objects = [found for branch in full for found in _objects(branch, definitions)]
    return [found["properties"][option] for found in objects if option in found.get("properties", {})]


def _default_variants(model: type[BaseModel], above: frozenset[type] = frozenset()) -> set[type]:
    """Return the variants that are meant where options are given without a ``name``; settings may hold their kind."""
    found: set[type] = set()
    for field in model.model_fields.values():
        if isinstance(field.default, BaseModel) and "name" in type(field.default).model_fields:
            found.add(type(field.default))
        for inner in _models(field.annotation):
            if inner not in above:
                found |= _default_variants(inner, above | {inner})
    return found


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
