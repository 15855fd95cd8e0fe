"""The text of a page as blocks of a PDF: findings, warnings, tables, settings and environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from weightscape.report.cells import html_table

if TYPE_CHECKING:
    from weightscape.figures.booklet import Block
    from weightscape.report.page import Report
    from weightscape.results import Table

_MOST_ROWS = 40


def blocks_of(report: Report) -> list[Block]:
    """Return the text of a report, in the order of its page; figures come after it."""
    from weightscape.figures.booklet import Block

    found = [Block("title", report.title)]
    found += [Block("text", paragraph) for paragraph in report.about.split("\n\n")]
    found += [Block("note", f"Warning: {warning}") for warning in report.warnings]
    for name, table in report.tables.items():
        found += [Block("heading", name), *_table(table)]
    found += [Block("heading", "settings"), Block("mono", report.settings)]
    facts = "\n".join(f"{name}: {value}" for name, value in report.environment.items())
    return [*found, Block("heading", "environment"), Block("mono", facts)]


def _table(table: Table) -> Iterator[Block]:
    """Yield a table as lines of one width per column."""
    from weightscape.figures.booklet import Block

    shown = html_table(table)
    heads = [column.name + " %" * (column.kind == "percent") for column in shown.columns]
    rows = [[cell.text for cell in row] for row in shown.rows[:_MOST_ROWS]]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    numeric = [column.numeric for column in shown.columns]
    lines = [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        )
        for line in [heads, *rows]
    ]
    yield Block("mono", "\n".join(lines))
    if shown.total > len(rows):
        yield Block("note", f"The first {len(rows)} of {shown.total} rows.")
    if shown.same:
        yield Block("note", "In all rows: " + ", ".join(f"{name} = {value}" for name, value in shown.same) + ".")
    if shown.implied:
        yield Block("note", "Left out, as other columns imply them: " + ", ".join(shown.implied) + ".")
