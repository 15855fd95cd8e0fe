"""A signature becomes a schema, and bad signatures are refused when they are declared."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from pydantic import BaseModel

from weightscape.errors import SpecificationError, WeightscapeError
from weightscape.operation import find_operation, fingerprinted, operation, operation_names
from weightscape.parameters import SQL_KEYWORDS
from weightscape.results import Result

if TYPE_CHECKING:
    from weightscape.results import Table


@dataclass(frozen=True)
class Answer(Result):
    value: float


def test_no_word_that_sql_reserves_can_name_a_parameter() -> None:
    rows = duckdb.sql("select keyword_name from duckdb_keywords() where keyword_category <> 'unreserved'").fetchall()
    assert {word for (word,) in rows} <= SQL_KEYWORDS


def test_a_parameter_named_like_an_sql_keyword_is_refused() -> None:
    with pytest.raises(WeightscapeError, match="'end' is an SQL keyword"):

        @operation("bad-end", version=1)
        def bad(end: Table) -> Answer:
            """Do nothing."""
            return Answer(0.0)


def test_a_positional_parameter_that_is_no_artefact_is_refused() -> None:
    with pytest.raises(WeightscapeError, match="settings are keyword-only"):

        @operation("bad-number", version=1)
        def bad(number: int) -> Answer:
            """Do nothing."""
            return Answer(0.0)


def test_a_variable_signature_is_refused() -> None:
    with pytest.raises(WeightscapeError, match="the signature is the schema"):

        @operation("bad-variable", version=1)
        def bad(**anything: int) -> Answer:
            """Do nothing."""
            return Answer(0.0)


def test_an_unknown_operation_is_refused_with_the_closest_name() -> None:
    with pytest.raises(SpecificationError, match="Did you mean 'transfer'"):
        find_operation("transfr")


def test_every_bundled_operation_has_a_schema_a_summary_and_outputs() -> None:
    for name in operation_names():
        found = find_operation(name)
        if found.is_bundled:
            assert found.summary.endswith(".")
            assert found.settings.model_json_schema()["properties"]
            assert isinstance(found.outputs, dict)


def test_operations_and_plans_load_no_torch() -> None:
    code = (
        "import sys; from weightscape.operation import find_operation, operation_names\n"
        "for name in operation_names(): op = find_operation(name); op.settings, op.inputs, op.outputs\n"
        "import weightscape.studies.planning, weightscape.studies.executors.execution\n"
        "print(sorted({'torch', 'matplotlib', 'pandas', 'sklearn'} & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


class Own(BaseModel):
    name: str

    def fingerprint(self, data_root: Path | None = None) -> str | None:
        return f"hash of {self.name}"


class Inner(BaseModel):
    one: Own


class Outer(BaseModel):
    several: tuple[Own, ...]
    nested: list[Inner]
    words: tuple[str, ...]


def test_what_stands_for_content_is_found_in_lists_too() -> None:
    settings = Outer(several=(Own(name="a"), Own(name="b")), nested=[Inner(one=Own(name="c"))], words=("x",))
    found = {place: value.fingerprint() for place, value in fingerprinted(settings)}
    assert found == {"several.0": "hash of a", "several.1": "hash of b", "nested.0.one": "hash of c"}
