"""Tables fit on the screen and lose nothing."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightscape.cli import printing
from weightscape.cli.rows import differences
from weightscape.studies.naming import following

words = st.text(alphabet="abcxyz", min_size=1, max_size=12)
cells = words | st.integers(-999, 9999) | st.floats(-10, 10) | st.none() | st.booleans()
tables = st.lists(words, min_size=1, max_size=9, unique=True).flatmap(
    lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, cells)), min_size=2, max_size=5)
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(rows: list[dict[str, Any]], width: int, **options: Any) -> str:
    """Return what is printed on a terminal of a width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", Terminal())
        patch.setenv("NO_COLOR", "1")
        patch.setattr(printing.shutil, "get_terminal_size", lambda: os.terminal_size((width, 24)))
        printing.print_rows(rows, **options)
        return sys.stdout.getvalue()  # type: ignore[attr-defined, no-any-return]


@settings(deadline=None, max_examples=60)
@given(tables, st.integers(50, 120))
def test_every_line_fits_and_every_cell_is_there(rows: list[dict[str, Any]], width: int) -> None:
    text = printed(rows, width, fold=False)
    assert all(len(line) <= width for line in text.splitlines())
    for row in rows:
        for name, value in row.items():
            if value is not None:
                assert printing.cell(value, name) in text


def test_a_long_last_column_is_wrapped_under_itself() -> None:
    rows = [{"name": "a", "about": "word " * 30}, {"name": "b", "about": "short"}]
    lines = printed(rows, 60, fold=False).splitlines()
    assert len(lines) > 4
    assert lines[2].startswith("      word")


def test_keys_stand_left_also_when_all_of_their_digits_are_decimal() -> None:
    head, row = printed([{"key": "12345678ab", "x": 1}], 60, fold=False).splitlines()
    assert head.startswith("key ")
    assert row.startswith("12345678 ")


def test_columns_that_agree_are_folded_but_not_those_to_keep() -> None:
    rows = [{"key": "k1", "same": 1, "kept": 2, "new": 3}, {"key": "k2", "same": 1, "kept": 2, "new": 4}]
    head, *_, last = printed(rows, 80, keep={"kept"}).splitlines()
    assert head.split() == ["key", "kept", "new"]
    assert last == "In all rows: same = 1"


def test_settings_that_others_imply_are_left_out_and_named() -> None:
    mlp = {"key": "k1", "model.name": "mlp", "model.hidden": "[64]", "model.depth": None, "source.seed": 0}
    cnn = {"key": "k2", "model.name": "cnn", "model.hidden": None, "model.depth": 4, "source.seed": 1}
    rows = [{**row, "source.weights.seed": row["source.seed"], "value": 0.5} for row in (mlp, cnn)]
    head, *_, last = printed(rows, 200, keep={"value"}, inputs={"source"}).splitlines()
    assert head.split() == ["key", "model.name", "source.seed", "value"]
    implied = "model.hidden, model.depth, and 1 setting of the inputs (--csv has all)"
    assert last == f"Left out, as other columns imply them: {implied}"
    assert "model.hidden" in printed(rows, 200, fold=False).splitlines()[0]


@pytest.mark.parametrize(
    "columns",
    [
        {"model.name": ["mlp", "mlp", "cnn"], "model.hidden": ["[64]", "[32]", None]},  # not by the name alone
        {"optimizer.name": ["sgd", "adam"], "optimizer.lr": [0.1, 0.001]},  # an option of both
        {"source.seed": [0, 1], "target.seed": [0, 1]},  # of two inputs
        {"seed": [0, 1], "source.seed": [0, 1]},  # the stage's own, and an input's
        {"source.seed": [0, 1], "source.weights.seed": [0, 2]},
    ],
)
def test_settings_that_say_something_are_never_left_out(columns: dict[str, list[Any]]) -> None:
    assert following(columns) == {}


def test_json_has_null_for_what_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    printing.print_json({"a": float("nan"), "b": float("inf"), "c": [1, None], "d": {1.5}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": None, "c": [1, None], "d": [1.5]}


def test_rows_are_told_apart_by_the_fewest_names() -> None:
    pairs = [{"source": {"seed": a, "lr": 1}, "target": {"seed": a + 3}, "m": m} for a in (0, 1) for m in "ab"]
    assert differences(pairs) == ["source.seed=0 m=a", "source.seed=0 m=b", "source.seed=1 m=a", "source.seed=1 m=b"]
    nested = [{"start": {"m": m, "source": {"seed": seed}}} for seed in (0, 1) for m in "ab"]
    assert differences(nested)[0] == "m=a source.seed=0"


def test_two_inputs_whose_seeds_differ_are_both_named() -> None:
    stored = [{"source": twice(a), "target": twice(b)} for a, b in ((0, 1), (0, 2), (1, 2))]
    assert differences(stored) == [f"source.seed={a} target.seed={b}" for a, b in ((0, 1), (0, 2), (1, 2))]


def twice(seed: int) -> dict[str, Any]:
    return {"seed": seed, "weights": {"seed": seed}}
