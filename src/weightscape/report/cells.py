"""How a table of numbers is written for people: percent, four digits, a dash for what is missing."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from weightscape.studies.naming import following

if TYPE_CHECKING:
    import pandas

    from weightscape.results import Table

LONGEST = 200
"""Rows of a table that the page shows."""

MISSING = "\N{EN DASH}"
Kind = Literal["number", "percent", "key", "text"]


@dataclass(frozen=True)
class Cell:
    """A cell: what is read, and what it is sorted by."""

    text: str
    sort: str
    tone: str = ""


@dataclass(frozen=True)
class Column:
    """A column's name, its unit for the heading, and its kind."""

    name: str
    kind: Kind

    @property
    def numeric(self) -> bool:
        """Whether the column is aligned to the right and sorted by number."""
        return self.kind in {"number", "percent"}


@dataclass(frozen=True)
class HtmlTable:
    """The first rows of a table, as cells.

    Attributes:
        columns: The columns that have a value, without those that have the same one in all rows and settings that
            others imply.
        rows: At most :data:`LONGEST` rows.
        total: Rows of the whole table.
        empty: Names of the columns without any value, which are not shown.
        same: Names and values of the columns that have one value in all of several rows.
        implied: Names of the columns of settings that say nothing beside others.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    empty: tuple[str, ...] = ()
    same: tuple[tuple[str, str], ...] = ()
    implied: tuple[str, ...] = ()

    @property
    def cut(self) -> bool:
        """Whether rows were left out."""
        return len(self.rows) < self.total


def html_table(table: Table) -> HtmlTable:
    """Return the cells of the first rows of a table, and what all its rows share."""
    filled = [place for place in range(table.shape[1]) if _has_values(table.iloc[:, place])]
    empty = [str(table.columns[place]) for place in range(table.shape[1]) if place not in filled]
    shared = [place for place in filled if _is_shared(str(table.columns[place]), table.iloc[:, place])]
    same = tuple(_fact(str(table.columns[place]), table.iloc[:, place]) for place in shared)
    table = table.iloc[:, [place for place in filled if place not in shared]]
    implied = tuple(_implied(table))
    total, table = len(table), table.iloc[:, [place for place, name in enumerate(table) if str(name) not in implied]]
    columns = tuple(Column(str(name), _kind(str(name), table.iloc[:, place])) for place, name in enumerate(table))
    rows = tuple(
        tuple(cell(value, column) for value, column in zip(row, columns, strict=True))
        for row in table.head(LONGEST).itertuples(index=False, name=None)
    )
    return HtmlTable(columns, rows, total, tuple(empty) if total else (), same, implied)


def cell(value: Any, column: Column) -> Cell:
    """Return a value as a cell of its column.

    >>> cell(0.98155, Column("test_accuracy", "percent")).text
    '98.16'
    >>> cell(0.000123456, Column("loss", "number")).text
    '0.0001235'
    """
    if _is_missing(value):
        return Cell(MISSING, "")
    if column.numeric:
        shown = f"{100 * value:.2f}" if column.kind == "percent" else number(value)
        return Cell(shown, repr(float(value)))
    text = str(value)
    tone = text if column.name == "status" and text in {"failed", "blocked", "waiting"} else ""
    return Cell(text[:12] if column.kind == "key" else text, text, tone)


def number(value: Any) -> str:
    """Return integers in full and other numbers with four digits.

    >>> number(53248), number(0.1), number(123456.789), number(1e-7), number(float("inf"))
    ('53248', '0.1', '123457', '1e-07', 'inf')
    """
    if isinstance(value, numbers.Integral) or (math.isfinite(value) and abs(value) >= 1000):
        return f"{value:.0f}"
    return f"{value:.4g}"


def _kind(name: str, column: pandas.Series[Any]) -> Kind:
    values = [value for value in column.dropna() if not _is_missing(value)]
    if name == "key":
        return "key"
    numeric = [isinstance(value, numbers.Real) and not _is_truth(value) for value in values]
    if not values or not all(numeric):
        return "text"
    is_share = "accuracy" in name and not name.endswith("stderr") and all(0 <= value <= 1 for value in values)
    return "percent" if is_share or name.endswith("accuracy_stderr") else "number"


def _has_values(column: pandas.Series[Any]) -> bool:
    return any(not _is_missing(value) and value != "" for value in column)


def _is_shared(name: str, column: pandas.Series[Any]) -> bool:
    """Return whether a column says the same in each of several rows; keys are what rows are known by."""
    if name == "key" or len(column) < 2:
        return False
    values = iter(column)
    first = repr(next(values))
    return all(repr(value) == first for value in values)


def _fact(name: str, column: pandas.Series[Any]) -> tuple[str, str]:
    kind = _kind(name, column)
    return name, cell(column.iloc[0], Column(name, kind)).text + " %" * (kind == "percent")


def _implied(table: pandas.DataFrame) -> dict[str, str]:
    """Return the columns of settings that say nothing beside others; settings have dots in their names."""
    several = len(table) > 1
    settings = {str(name): table.iloc[:, place] for place, name in enumerate(table) if several and "." in str(name)}
    return following(
        {name: [None if _is_missing(value) else str(value) for value in column] for name, column in settings.items()}
    )


def _is_truth(value: Any) -> bool:
    return type(value).__name__ in {"bool", "bool_"}


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, numbers.Real) and math.isnan(value)
