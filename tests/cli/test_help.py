"""What is shown without doing anything, and what that must not load."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from typer.testing import Result

from weightscape.cli.one_line import operation_command
from weightscape.cli.signatures import description, meanings, place_of
from weightscape.cli.summaries import declared_operations, operation_summary
from weightscape.operation import find_operation, operation_names

HEAVY = {"torch", "numpy", "pandas", "pyarrow", "matplotlib", "duckdb", "pydantic", "yaml", "scipy", "sklearn"}


def loaded_by(*arguments: str) -> set[str]:
    """Return the modules that a command loads."""
    code = (
        "import json, sys\nfrom weightscape.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    # typer itself may take pydantic to read the types of one command's options
    assert loaded_by(*arguments) & (HEAVY - (set() if arguments == ["--help"] else {"pydantic"})) == set()


def test_help_lists_every_verb_and_every_operation_with_its_summary(cli: Callable[..., Result]) -> None:
    text = " ".join(cli("--help").stdout.replace("│", " ").split())
    verbs = {"plan", "run", "status", "table", "ls", "show", "figure", "report", "layers", "symmetry", "data"}
    for verb in verbs | {"recipes", "doctor"} | set(declared_operations()):
        assert f" {verb} " in text


def test_summaries_read_from_source_are_those_of_the_operations() -> None:
    declared = declared_operations()
    assert set(declared) <= set(operation_names())
    assert {name: operation_summary(name) for name in declared} == {
        name: find_operation(name).summary for name in declared
    }


@pytest.mark.parametrize("name", sorted(declared_operations()))
def test_every_setting_of_an_operation_is_an_option_with_its_default(name: str, cli: Callable[..., Result]) -> None:
    operation = find_operation(name)
    places = {place for taken in operation_command(name).params for place in (*taken.opts, taken.metavar)}
    fields = operation.settings.model_fields
    assert {place_of(operation, field) for field in fields} <= places
    shown = " ".join(cli(name, "--help").stdout.replace("│", " ").split())
    for field, info in fields.items():
        if isinstance(info.default, int | str) and not isinstance(info.default, bool):
            assert f"[default: {info.default}]" in shown, field


@pytest.mark.parametrize("name", sorted(declared_operations()))
def test_every_input_and_setting_of_an_operation_is_explained(name: str, cli: Callable[..., Result]) -> None:
    operation = find_operation(name)
    said = meanings(operation)
    assert {*operation.inputs, *operation.settings.model_fields} <= set(said)
    shown = " ".join(cli(name, "--help").stdout.replace("│", " ").split())
    assert all(text.replace("\\", "").strip() in shown for text in said.values() if text != said["context"])


def test_help_is_broken_by_the_terminal_except_for_lists() -> None:
    toy = find_operation("tests.cli.toys.explained")
    shown = description(toy).split("\n\n")
    assert shown == ["Explain oneself at length.", "- one,\n- two", "A sentence that goes on in the next line."]
    assert meanings(toy)["loud"].strip() == "Whether everyone hears it, also those in the 'next' room."
