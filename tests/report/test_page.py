from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas
import pytest

from weightscape.errors import WeightscapeError
from weightscape.report.cells import LONGEST, MISSING, Column, cell, html_table
from weightscape.report.page import Report, ReportFigure, render, write_report

EVIL = "<script>alert('x')</script>\"' & <img src=https://example.org/x.png onerror=alert(1)>"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


class Page(HTMLParser):
    """Elements with their attributes, and the text of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def full_report() -> Report:
    table = pandas.DataFrame({EVIL: [EVIL], "status": ["failed"], "key": [EVIL], "test_accuracy": [0.98155]})
    return Report(
        title=EVIL,
        about=EVIL,
        figures=[ReportFigure(EVIL, EVIL, PNG, "figures/a.csv"), (EVIL, EVIL, SVG, EVIL)],
        tables={EVIL: table, "plain": table},
        settings=EVIL,
        environment={EVIL: EVIL},
        failures=[{"stage": EVIL, "key": EVIL, "message": EVIL, "log": EVIL}],
        warnings=[EVIL],
        created=EVIL,
    )


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = Page(render(full_report()))
    assert not page.all("link")
    assert all(attributes["src"].startswith("data:image/") for attributes in page.all("img"))
    assert all("src" not in attributes for attributes in page.all("script"))
    assert all(re.match(r"(#|\./)", attributes["href"]) for attributes in page.all("a"))
    style = re.search(r"<style>(.*?)</style>", render(Report("s")), re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_every_text_is_escaped() -> None:
    text = render(full_report())
    page = Page(text)
    assert len(page.all("script")) == 1  # the page's own
    assert len(page.all("img")) == 2  # the two figures
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert "alert('x')" not in text


def test_vector_graphics_are_images_where_scripts_do_not_run() -> None:
    images = Page(render(full_report())).all("img")
    assert images[1]["src"].startswith("data:image/svg+xml;base64,")


def test_an_image_of_another_kind_is_refused() -> None:
    with pytest.raises(WeightscapeError, match="'a' is expected as PNG or SVG"):
        render(Report("s", figures=[ReportFigure("a", "", b"%PDF-1.4")]))


def test_equal_reports_are_equal_bytes_and_written_whole(tmp_path) -> None:
    first, second = (write_report(full_report(), tmp_path / name / "report.html") for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert [file.name for file in first.parent.iterdir()] == ["report.html"]


def test_an_empty_report_has_no_empty_sections() -> None:
    text = render(Report("s"))
    for section in ("figures", "tables", "failures", "settings", "environment", "warnings"):
        assert f'id="{section}"' not in text


def test_a_long_table_is_cut_collapsed_and_says_where_the_rest_is() -> None:
    table = pandas.DataFrame({"x": range(LONGEST + 1)})
    text = render(
        Report("s", tables={"long": table, "short": table.head(LONGEST)}, table_files={"long": "t/l.parquet"})
    )
    page = Page(text)
    assert ["open" in attributes for attributes in page.all("details")] == [False, True]
    assert len(page.all("td")) == 2 * LONGEST
    assert f"The first {LONGEST} of {LONGEST + 1} rows" in text
    assert './t/l.parquet"' in text
    assert "short.parquet" not in text


def test_of_many_tables_those_of_the_stages_are_open() -> None:
    small = pandas.DataFrame({"x": [1, 2]})
    names = [name for stage in range(5) for name in (f"stage{stage}", f"stage{stage}.epochs", f"stage{stage}.matrix")]

    def opened(chosen: list[str]) -> list[str]:
        page = Page(render(Report("s", tables={**dict.fromkeys(chosen, small), "empty": small.head(0)})))
        shown = ["open" in attributes for attributes in page.all("details") if attributes.get("class") == "table"]
        return [name for name, is_open in zip([*chosen, "empty"], shown, strict=True) if is_open]

    assert opened(names) == [f"stage{stage}" for stage in range(5)]
    assert opened(names[:6]) == names[:6]


def test_numbers_stand_right_accuracies_in_percent_and_sort_by_their_exact_value() -> None:
    table = html_table(
        pandas.DataFrame(
            {
                "method": ["gmt", "naive"],
                "validation_accuracy": [0.981549, None],
                "test_accuracy_stderr": [0.00123, 0.002],
                "loss": [0.0612345, 2.0],
                "converged": [True, False],
                "target.seed": [3, 4],
            }
        )
    )
    kinds = {column.name: column.kind for column in table.columns}
    assert kinds == {
        "method": "text",
        "validation_accuracy": "percent",
        "test_accuracy_stderr": "percent",
        "loss": "number",
        "converged": "text",
        "target.seed": "number",
    }
    first, second = table.rows
    assert [item.text for item in first] == ["gmt", "98.15", "0.12", "0.06123", "True", "3"]
    assert float(first[1].sort) == 0.981549
    assert (second[1].text, second[1].sort) == (MISSING, "")


def test_columns_without_a_value_are_named_instead_of_shown() -> None:
    table = html_table(pandas.DataFrame({"message": ["", ""], "x": [1, 2], "gone": [None, None]}))
    assert [column.name for column in table.columns] == ["x"]
    assert table.empty == ("message", "gone")


def test_columns_that_say_the_same_in_all_rows_are_said_once() -> None:
    rows = {"key": ["a", "a"], "status": ["done", "done"], "seed": [0, 1], "hidden": [[64], [64]]}
    frame = pandas.DataFrame({**rows, "test_accuracy": [0.5, 0.5], "loss": [0.1, None]})
    table = html_table(frame)
    assert [column.name for column in table.columns] == ["key", "seed", "loss"]
    assert table.same == (("status", "done"), ("hidden", "[64]"), ("test_accuracy", "50.00 %"))
    text = render(Report("s", tables={"t": frame}))
    assert "3 columns with the same value in all rows" in text
    assert "hidden = [64]" in text


def test_columns_that_others_imply_are_named_instead_of_shown() -> None:
    models = {"model.name": ["mlp", "cnn", "cnn"], "model.hidden": ["[64]", None, None], "model.depth": [None, 4, 4]}
    seeds = {"source.seed": [0, 1, 2], "source.weights.seed": [0, 1, 2]}
    table = html_table(frame := pandas.DataFrame({"key": ["a", "b", "c"], **models, **seeds, "value": [1.0, 1.5, 2.0]}))
    assert [column.name for column in table.columns] == ["key", "model.name", "source.seed", "value"]
    text = render(Report("s", tables={"t": frame}))
    assert "Not shown: 3 columns that others imply" in text
    assert "Implied by others: model.hidden, model.depth, source.weights.seed." in text


def test_a_single_row_is_shown_in_full_and_a_cut_table_shares_what_all_of_its_rows_share() -> None:
    one = html_table(pandas.DataFrame({"key": ["a"], "seed": [0]}))
    assert [column.name for column in one.columns] == ["key", "seed"]
    late = html_table(pandas.DataFrame({"x": [0] * LONGEST + [1], "y": [0] * (LONGEST + 1)}))
    assert [column.name for column in late.columns] == ["x"]


def test_a_measure_beyond_shares_is_no_percentage() -> None:
    assert html_table(pandas.DataFrame({"accuracy": [98.1]})).columns[0].kind == "number"
    assert cell(float("inf"), Column("loss", "number")).text == "inf"
