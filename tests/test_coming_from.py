"""The page that translates other tools' commands names only what exists here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from pydantic import BaseModel, TypeAdapter

import weightscape
from weightscape.cli.main import app
from weightscape.data.specification import DataSettings
from weightscape.figures import registry
from weightscape.models.architecture import Architecture, parse_architecture
from weightscape.operation import find_operation, operation_names
from weightscape.recipes import recipe_names
from weightscape.training.recipe import Recipe

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "coming-from.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and line != "| there | here |"
]
HERE = [span for row in ROWS for span in re.findall(r"`([^`]+)`", row[-1])]
COMMANDS = sorted({span for span in HERE if span.startswith("weightscape ")})
SETTING = re.compile(r"(recipe|data|model|train|transfer|stitch|compare)\.([a-z_.]+)(?:: (.*))?")
SETTINGS = sorted({span for span in HERE if SETTING.fullmatch(span)})


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def starts(name: str) -> list[type[BaseModel]]:
    if name in operation_names():
        return [find_operation(name).settings]
    return list(models_in({"recipe": Recipe, "data": DataSettings, "model": Architecture}[name]))


def test_every_row_translates_something() -> None:
    assert len(ROWS) > 80
    assert all(len(row) == 2 and all(row) for row in ROWS)


@pytest.mark.parametrize("text", COMMANDS)
def test_every_command_exists_with_its_options(text: str) -> None:
    _, *words = re.findall(r"'[^']*'|\S+", text)
    command: Any = typer.main.get_command(app)
    context = typer.Context(command)
    while words and hasattr(command, "get_command"):
        name = words.pop(0)
        command = command.get_command(context, name)
        assert command, f"there is no command {name!r}"
        context = typer.Context(command, info_name=name)
    known = {option for parameter in command.get_params(context) for option in parameter.opts}
    if command.name in operation_names():
        known |= {f"--{option}".replace("_", "-") for option in find_operation(command.name).settings.model_fields}
    given = {word for word in words if word.startswith("--")}
    assert given <= known
    if command.name in {"run", "figure", "report", "plan"} and words[0].islower():
        assert words[0] in recipe_names()


@pytest.mark.parametrize("text", SETTINGS)
def test_every_setting_exists_and_takes_the_value(text: str) -> None:
    start, path, value = SETTING.fullmatch(text).groups()  # type: ignore[union-attr]
    candidates, fields = starts(start), []
    for part in path.split("."):
        fields = [model.model_fields[part] for model in candidates if part in model.model_fields]
        assert fields, f"nothing has an option {part!r}"
        candidates = [model for field in fields for model in models_in(field.rebuild_annotation())]
    if value is not None:
        assert any(accepts(field.rebuild_annotation(), yaml.safe_load(value)) for field in fields)


def accepts(annotation: Any, value: Any) -> bool:
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValueError:
        return False
    return True


def test_operations_figures_functions_and_networks_exist() -> None:
    seen = 0
    for span in HERE:
        if found := re.fullmatch(r"run: (\S+)", span):
            assert found[1] in operation_names()
        elif found := re.fullmatch(r"draw: (\S+)", span):
            assert found[1] in registry.names()
        elif found := re.fullmatch(r"ws\.(\w+)", span):
            assert found[1] in weightscape.__all__
        elif span.startswith("{name: "):
            parse_architecture(yaml.safe_load(span))
        else:
            continue
        seen += 1
    assert seen > 20
