"""From the tables of a study to the numbers that a figure draws, as one tidy table.

Every figure draws from such a table and from nothing else; it is what stands in the CSV beside the figure.

Columns: ``quantity`` (the axis, with its unit), ``series`` (the curve), ``kind`` (``run``, ``mean``, ``reference``,
``published``, ``chance``), ``run`` (the seeds), ``x``, ``y``, ``sd`` (n-1) and ``n`` (the number of runs).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weightscape.errors import did_you_mean
from weightscape.figures.registry import FigureError

if TYPE_CHECKING:
    import pandas

    from weightscape.results import Table

COLUMNS = ("quantity", "series", "kind", "run", "x", "y", "sd", "n")
DONE = ("done", "cached")
THIN_LINES_BELOW = 10


def require(table: Table, columns: Sequence[str], *, name: str) -> None:
    """Check that the table has the columns.

    Raises:
        FigureError: Naming the columns that are missing, or saying that the table is empty.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing and table.empty:
        raise FigureError(f"The table {name!r} has no rows: no run of it has finished, so there is nothing to draw.")
    if missing:
        have = [str(column) for column in table.columns]
        hints = " ".join(did_you_mean(column, have) for column in missing[:1])
        raise FigureError(
            f"The table {name!r} needs the column{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))}. {hints}"
        )


def run_columns(table: Table) -> list[str]:
    """Return the columns that tell repetitions apart: ``seed``, ``source.seed``, ``recipe.order_seed`` and the like."""
    return [str(column) for column in table.columns if str(column).rpartition(".")[2].endswith("seed")]


def pair_columns(table: Table) -> tuple[str, str]:
    """Return the columns with the seeds of sources and targets (``start.source.seed``); empty if there are none."""
    source, target = (
        next((str(column) for column in table.columns if f".{column}".endswith(f".{role}.seed")), "")
        for role in ("source", "target")
    )
    return source, target


def unit(table: Table, count: int) -> str:
    """Return what a repetition is called: pairs where runs have a source and a target, else seeds."""
    paired = all(pair_columns(table))
    return ("pair" if paired else "seed") + ("" if count == 1 else "s")


def labelled(
    table: Table, *, by: str | Sequence[str] | None, name: str = "table", rows: Table | None = None
) -> pandas.DataFrame:
    """Return the table with the columns ``series``, ``run`` and ``failed``.

    Args:
        table: Rows of runs; those whose ``status`` is neither done nor cached count as failed.
        by: Columns that tell the series apart; the words of a single one are the names. None is ``method`` (or
            ``start.method``) if the table has it.
        name: The table's name, for messages.
        rows: The stage's table: its unfinished rows are added.

    Raises:
        FigureError: If a column of `by` is missing.
    """
    if by is None:
        by = [str(column) for column in table.columns if str(column).rpartition(".")[2] == "method"]
    by = [by] if isinstance(by, str) else list(by)
    require(table, by, name=name)
    frame = _with_failures(table, by, rows)
    seeds = [column for column in run_columns(table) if column not in by]
    failed = frame["status"].notna() & ~frame["status"].isin(DONE) if "status" in frame.columns else False
    return frame.assign(series=_names(frame, by, always=False), run=_names(frame, seeds, always=True), failed=failed)


def _with_failures(table: Table, by: Sequence[str], rows: Table | None) -> pandas.DataFrame:
    """Add the unfinished rows of the stage, of which a detail table knows nothing."""
    import pandas

    frame = table.reset_index(drop=True)
    if rows is None:
        return frame
    wanted = [*by, *(column for column in run_columns(table) if column not in by), "status"]
    require(rows, wanted, name="rows")
    unfinished = rows.loc[~rows["status"].isin(DONE), wanted]
    return pandas.concat([frame, unfinished], ignore_index=True) if len(unfinished) else frame


def _names(frame: pandas.DataFrame, columns: Sequence[str], *, always: bool) -> list[str]:
    if not columns:
        return [""] * len(frame) if always else ["all"] * len(frame)
    rows = frame[list(columns)].itertuples(index=False, name=None)
    if len(columns) == 1 and not always:  # a word speaks for itself, a number needs its name
        return [value if isinstance(value, str) else f"{columns[0]}={value}" for (value,) in rows]
    return [", ".join(f"{column}={value}" for column, value in zip(columns, row, strict=True)) for row in rows]


def curves(frame: pandas.DataFrame, *, x: str, y: str, quantity: str, scale: float = 1.0) -> pandas.DataFrame:
    """Return every run's curve and, per series, the mean with the n-1 standard deviation.

    Single runs are left out where a series has ten or more, as they are in the figure.

    Args:
        frame: A :func:`labelled` table.
        x: Column of the horizontal axis.
        y: Column of the vertical axis; missing values are left out.
        quantity: What `y` times `scale` is, with its unit.
        scale: Factor on `y`: 100 turns a share into percent.

    Raises:
        FigureError: If a run has two values at one `x`.
    """
    rows = frame.loc[~frame["failed"] & frame[y].notna() & frame[x].notna()]
    _refuse_duplicates(rows, x)
    points = rows[["series", "run"]].assign(kind="run", x=rows[x].astype(float), y=rows[y].astype(float) * scale)
    points = points.sort_values(["series", "run", "x"], kind="stable")
    grouped = points.groupby(["series", "x"], sort=True)["y"]
    means = grouped.agg(y="mean", sd="std", n="count").reset_index().assign(kind="mean", run="")
    runs = points.groupby("series")["run"].transform("nunique")
    single = points.loc[(runs > 1) & (runs < THIN_LINES_BELOW)]
    return tidy([single, means], quantity=quantity)


def _refuse_duplicates(rows: pandas.DataFrame, x: str) -> None:
    keys = ["series", "run", x]
    repeated = rows.loc[rows.duplicated(keys, keep=False)]
    if repeated.empty:
        return
    first = repeated.loc[(repeated[keys] == repeated.iloc[0][keys]).all(axis=1)]
    candidates = [column for column in rows.columns if column not in {*keys, "key"}]
    if "key" in rows.columns:  # what differs within one run is a measurement, no setting
        constant = rows.astype(str).groupby("key").nunique().max() <= 1
        candidates = [column for column in candidates if constant[column]]
    differing = [str(column) for column in candidates if first[column].astype(str).nunique() > 1]
    raise FigureError(
        f"One value per run and {x} is expected; {first.iloc[0]['series']!r} has {len(first)} at {x} "
        f"{first.iloc[0][x]} ({first.iloc[0]['run'] or 'no seed column'}). The rows differ in: "
        f"{', '.join(differing) or 'nothing'}. Name what tells the curves apart in the option "
        "'by' of the figure: a setting, or a list of settings."
    )


def tidy(parts: Sequence[pandas.DataFrame], *, quantity: str | None = None) -> pandas.DataFrame:
    """Join parts into one table with the columns of this module, in their order."""
    import pandas

    rows = [_typed(part) for part in parts if len(part)]
    if not rows:
        return pandas.DataFrame(columns=list(COLUMNS))
    frame = pandas.concat(rows, ignore_index=True)
    return frame if quantity is None else frame.assign(quantity=quantity)


def _typed(part: pandas.DataFrame) -> pandas.DataFrame:
    texts = ("quantity", "series", "kind", "run")
    part = part.assign(**{column: part[column].astype(str) if column in part else "" for column in texts})
    return part.reindex(columns=list(COLUMNS)).astype({"x": float, "y": float, "sd": float, "n": "Int64"})


def counts(frame: pandas.DataFrame, *, y: str) -> dict[str, tuple[int, int]]:
    """Return per series how many runs have values, and how many were expected.

    Expected is what the best series has, or what this one has with its failed rows, whichever is more.
    """
    good = frame.loc[~frame["failed"] & frame[y].notna()].groupby("series")["run"].nunique()
    planned = frame.groupby("series", sort=False)["run"].nunique()
    most = int(good.max()) if len(good) else 0
    return {str(name): (int(good.get(name, 0)), max(most, int(total))) for name, total in planned.items()}
