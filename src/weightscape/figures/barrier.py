"""Loss and accuracy along the straight line between two networks, before and after alignment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from weightscape.figures.notes import missing_note
from weightscape.figures.numbers import counts, curves, labelled, require, tidy, unit
from weightscape.figures.registry import figure
from weightscape.figures.style import MUTED, Look, looks

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table


class _Measure(NamedTuple):
    column: str
    stderr: str
    quantity: str
    scale: float


_MEASURES = (
    _Measure("loss", "loss_excess_stderr", "loss", 1.0),
    _Measure("accuracy", "error_excess_stderr", "accuracy (%)", 100.0),
)
_PATHS = {
    "direct": Look("before alignment", "#7a7a7a", "o", (0, (3, 1.5))),
    "aligned": Look("after alignment", "#0072B2", "s"),
}


@figure("barrier")
def barrier(
    table: Table,
    *,
    rows: Table | None = None,
    by: str | Sequence[str] = "path",
    note: str = "",
    title: str = "",
) -> Chart:
    """Loss and accuracy along the straight line between two networks, before and after alignment.

    Fine straight lines join the ends: heights are counted from them. For one pair the band is one standard error of the
    height to each side, paired over the images, so that it vanishes at the ends. For several pairs thin lines are
    single pairs (fewer than ten), the bold line is their mean and the band one standard deviation (n-1).

    Args:
        table: One row per pair, path and point: the `by` columns, ``alpha``, ``loss``, ``accuracy`` (a share), the
            standard errors of the heights ``loss_excess_stderr`` and ``error_excess_stderr``, and the seeds of runs.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        by: Column or columns that tell the curves apart.
        note: Printed below the figure.
        title: Printed above the figure.
    """
    frame = labelled(table, by=by, rows=_paths(rows, by))
    require(frame, ["alpha", "loss"], name="table")
    measures = [item for item in _MEASURES if item.column in frame.columns and frame[item.column].notna().any()]
    parts = [
        _with_stderr(frame, curves(frame, x="alpha", y=item.column, quantity=item.quantity, scale=item.scale), item)
        for item in measures
    ]
    number = counts(frame, y="loss")
    numbers = tidy([part for part in parts if len(part)])
    return _draw(frame, numbers, number, note=note, title=title)


def _paths(rows: Table | None, by: str | Sequence[str]) -> Table | None:
    """A failed pair misses both paths; the table of the stage has no column for them."""
    if rows is None or "path" in rows.columns or "path" not in ([by] if isinstance(by, str) else by):
        return rows
    import pandas

    return pandas.concat([rows.assign(path=path) for path in _PATHS], ignore_index=True)


def _with_stderr(frame: pandas.DataFrame, points: pandas.DataFrame, measure: _Measure) -> pandas.DataFrame:
    """Give the mean of a single pair the standard error of that pair as its spread."""
    column = measure.stderr
    if column not in frame.columns or not (points["n"] == 1).any():
        return points
    known = {
        (series, x): stderr * measure.scale
        for series, x, stderr in frame.loc[~frame["failed"], ["series", "alpha", column]].itertuples(index=False)
    }
    alone = (points["n"] == 1) & (points["kind"] == "mean")
    found = [known[series, x] for series, x in points.loc[alone, ["series", "x"]].itertuples(index=False)]
    points.loc[alone, "sd"] = found
    return points


def _draw(
    frame: pandas.DataFrame, numbers: pandas.DataFrame, number: dict[str, tuple[int, int]], *, note: str, title: str
) -> Chart:
    from weightscape.figures.chart import finish, new_chart
    from weightscape.figures.marks import handle

    drawn = _looks([name for name in number if name in set(numbers["series"])])
    quantities = list(dict.fromkeys(numbers["quantity"])) or ["loss"]
    chart, panels = new_chart(numbers, columns=len(quantities))
    for axes, quantity in zip(panels, quantities, strict=True):
        _panel(axes, numbers.loc[numbers["quantity"] == quantity], drawn)
        axes.set_ylabel(quantity)
        axes.set_xlabel("position on the line")
    handles = [handle(look) for look in drawn.values()]
    notes = [_spread_note(frame, number), note, missing_note(frame, number, _looks(list(number)))]
    return finish(chart, handles if len(drawn) > 1 else [], notes=notes, title=title)


def _looks(names: Sequence[str]) -> dict[str, Look]:
    known = {name: look for name, look in _PATHS.items() if name in names}
    return {**known, **looks(name for name in names if name not in known)}


def _panel(axes: Axes, numbers: pandas.DataFrame, drawn: dict[str, Look]) -> None:
    from weightscape.figures.marks import draw_curve

    for name, look in drawn.items():
        rows = numbers.loc[numbers["series"] == name]
        draw_curve(axes, rows, look)
        ends = rows.loc[(rows["kind"] == "mean") & rows["x"].isin([0.0, 1.0])]
        axes.plot(ends["x"], ends["y"], color=look.colour, linewidth=0.6, alpha=0.7, zorder=1.5)
        style: dict[str, Any] = {"markersize": 5.5, "markerfacecolor": "white", "markeredgewidth": 1.2}
        axes.plot(ends["x"], ends["y"], look.marker, color=look.colour, zorder=4, **style)
    for place in (0.0, 1.0):
        axes.axvline(place, color=MUTED, linewidth=0.5, zorder=0.5)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["first", "0.25", "0.5", "0.75", "second"])


def _spread_note(frame: pandas.DataFrame, number: dict[str, tuple[int, int]]) -> str:
    most = max((good for good, _ in number.values()), default=0)
    images = int(frame["count"].max()) if "count" in frame.columns and frame["count"].notna().any() else 0
    on = f" on {images:,} images" if images else ""
    ends = "Open marks: the two networks; heights are counted from the fine line between them."
    if most < 2:
        return f"One pair{on}; band: ±1 standard error of the height, paired over images. {ends}"
    single = "thin: single pairs, " if most < 10 else ""
    name = unit(frame, most)
    return f"n = {most} {name}{on}; {single}bold: mean, band: ±1 SD (n-1) over {name}. {ends}"
