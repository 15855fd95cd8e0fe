from __future__ import annotations

import subprocess
import sys

import pytest

from weightscape.errors import ModelError, SpecificationError
from weightscape.figures.registry import FigureError, figure, find, names


def test_checking_a_study_loads_neither_matplotlib_nor_pandas_nor_torch() -> None:
    code = (
        "import sys; from weightscape.figures.registry import find, names; names(); "
        "find('transfer-curve').bind(['table'], {'split': 'test'}); "
        "print([m for m in ('matplotlib', 'pandas', 'numpy', 'torch', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_built_in_figure_takes_a_table_and_says_what_it_shows() -> None:
    assert {"transfer-curve", "transfer-cosine", "learning-curve", "match-summary"} <= set(names())
    for name in names():
        assert find(name).required_tables == ("table",)
        assert find(name).summary.endswith(".")


def test_tables_and_options_are_read_from_the_signature() -> None:
    entry = find("transfer-curve")
    assert entry.tables == ("table", "reference", "rows")
    assert {"published", "split", "zoom"} <= set(entry.options)


def test_a_misspelt_figure_is_named_with_the_closest() -> None:
    with pytest.raises(FigureError, match="Did you mean 'transfer-curve'"):
        find("transfer-curv")


def test_all_mistakes_are_collected_with_their_place_and_a_remedy() -> None:
    with pytest.raises(SpecificationError) as caught:
        find("transfer-curve").bind(["tabel"], {"splitt": "test", "start": "soon"}, where="figures.five")
    problems = {problem.where: problem for problem in caught.value.problems}
    assert set(problems) == {"figures.five.from.tabel", "figures.five.from", "figures.five.with.splitt"} | {
        "figures.five.with.start"
    }
    assert "'split'" in problems["figures.five.with.splitt"].remedy
    assert "'table'" in problems["figures.five.from.tabel"].remedy
    assert problems["figures.five.with.start"].received == "'soon'"


def test_options_come_back_as_the_function_wants_them() -> None:
    values = find("transfer-curve").bind(["table"], {"zoom": [93, 99], "epochs": [1, 4]})
    assert values["zoom"] == (93.0, 99.0)
    assert list(values["epochs"]) == [1, 4]


def test_a_dotted_path_names_a_function_of_the_user() -> None:
    entry = find("weightscape.figures.learning_curve.learning_curve")
    assert entry.tables == ("table", "reference", "rows")
    with pytest.raises(ModelError, match="cannot be imported"):
        find("no_such_module.figure")
    with pytest.raises(FigureError, match="is a function of tables"):
        find("weightscape.figures.style.PAPER_WIDTH")


def test_a_name_is_given_once() -> None:
    names()
    with pytest.raises(FigureError, match="used once"):

        @figure("transfer-curve")
        def another(table: object) -> None:
            """Not the same."""
