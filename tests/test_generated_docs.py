"""What the generated pages of the documentation say: every result of every operation is described."""

from __future__ import annotations

import importlib
from dataclasses import fields
from pathlib import Path

import pytest

from weightscape.operation import find_operation, operation_names

EXTENSIONS = Path(__file__).parents[1] / "docs" / "_ext"


BUNDLED = [name for name in operation_names() if find_operation(name).function.__module__.startswith("weightscape.")]
"""Operations of the package; tests register others."""


@pytest.mark.parametrize("name", BUNDLED)
def test_every_field_of_a_result_has_a_meaning(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    described = importlib.import_module("schemas").descriptions
    result = find_operation(name)._hints["return"]
    assert fields(result)
    assert {field.name for field in fields(result)} <= {name for name, text in described(result).items() if text}
