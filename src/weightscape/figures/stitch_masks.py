"""Every pair of networks at every layer: the grid of masked stitches (arXiv 2110.14633)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightscape.figures.layer_matrix import short
from weightscape.figures.layers import example_of, layer_order, short_names
from weightscape.figures.notes import lossy_note
from weightscape.figures.numbers import require
from weightscape.figures.pair_marks import missing_pairs_note
from weightscape.figures.pairs import pair_means, pairs_note
from weightscape.figures.registry import figure
from weightscape.figures.stitch_series import MEASURES, SHARES, Measure, stitch_frame
from weightscape.figures.style import INK, MUTED, SMALL

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

_COLOURS = "YlGnBu"
_MEAN = "mean"
_MISSING = "\N{MULTIPLICATION SIGN}"


@figure("stitch-masks")
def stitch_masks(
    table: Table,
    *,
    more: Table | None = None,
    rows: Table | None = None,
    by: str | Sequence[str] | None = ("mask", "init"),
    measure: Measure = "relative_accuracy",
    note: str = "",
    title: str = "",
) -> Chart:
    """Every ordered pair of networks at every layer, a panel for every mask and initialisation.

    Stitches of one pair, layer and initialisation with several seeds are averaged. The last row is the mean over pairs;
    a missing cell has a cross.

    Args:
        table: One row per pair and layer, as ``stitch`` has them.
        more: Rows of another stage, such as one with another initialisation.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        by: Column or columns that tell panels apart.
        measure: What is drawn.
        note: Printed below the figure.
        title: Printed above the figure.
    """
    import pandas

    require(table, [measure], name="table")
    if more is not None:
        require(more, [measure], name="more")
        table = pandas.concat([table, more], ignore_index=True)
    by = [by] if isinstance(by, str) else list(by or ())
    varying = [column for column in by if column not in table.columns or table[column].nunique() > 1]
    frame = stitch_frame(table, by=varying, rows=rows)
    numbers = pair_means(frame, x="place", y=measure, quantity=MEASURES[measure])
    same = [f"{column} {table[column].iloc[0]}" for column in by if column not in varying and len(table)]
    notes = [
        ", ".join([MEASURES[measure], *same]),
        pairs_note(numbers, thin=False, band="in the CSV"),
        _seeds_note(frame),
    ]
    notes += [lossy_note(frame), note, missing_pairs_note(frame, measure)]
    return _draw(frame, numbers, measure, notes=notes, title=title)


def _seeds_note(frame: pandas.DataFrame) -> str:
    if "seed" not in frame.columns:
        return ""
    counts = frame.groupby("series", sort=False)["seed"].nunique()
    several = {name: count for name, count in counts.items() if count > 1}
    named = ", ".join(f"{count} for {name}" for name, count in several.items())
    return f"Mean over seeds of the stitch: {named}." if several else ""


def _draw(
    frame: pandas.DataFrame, numbers: pandas.DataFrame, measure: Measure, *, notes: Sequence[str], title: str
) -> Chart:
    from weightscape.figures.chart import finish, new_chart

    series = list(dict.fromkeys(frame["series"]))
    layers, runs = layer_order(frame), [*dict.fromkeys(frame["run"]), _MEAN]
    columns = min(len(series), max(1, int(24 / (len(layers) + 4))))
    number = math.ceil(len(series) / columns)
    chart, panels = new_chart(numbers, rows=number, columns=columns, row_height=0.145 * len(runs) + 0.7, share_y=True)
    values = numbers.assign(run=numbers["run"].where(numbers["kind"] == "pair", _MEAN))
    limits = _limits(values["y"], measure)
    for axes, name in zip(panels, series, strict=False):
        cells = {(run, x): y for run, x, y in values.loc[values["series"] == name, ["run", "x", "y"]].values}
        _panel(axes, cells, layers, runs, limits)
        axes.set_title(name)
    for place, axes in enumerate(panels):
        axes.set_visible(place < len(series))
        if place % columns == 0:
            axes.set_ylabel("front → back network")
    bar = chart.colorbar(panels[0].images[0], ax=panels, fraction=0.03, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    return finish(chart, [], notes=notes, title=title)


def _limits(values: pandas.Series[float], measure: str) -> tuple[float, float]:
    if values.empty:
        return 0.0, 1.0
    if measure in SHARES:
        return min(0.0, float(values.min())), max(1.0, float(values.max()))
    return 0.0, float(values.max())


def _panel(
    axes: Axes,
    cells: Mapping[tuple[str, float], float],
    layers: Sequence[str],
    runs: Sequence[str],
    limits: tuple[float, float],
) -> None:
    import matplotlib
    import numpy

    grid = numpy.array([[cells.get((run, float(place)), numpy.nan) for place in range(len(layers))] for run in runs])
    colours = matplotlib.colormaps[_COLOURS].with_extremes(bad="white")
    axes.imshow(grid, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.axhline(len(runs) - 1.5, color="white", linewidth=2.5)
    names = short_names(layers)
    turned = max(map(len, names), default=0) * len(names) > 28
    axes.set_xticks(range(len(layers)), names, rotation=90 if turned else 0)
    axes.set_xlabel(f"layer{example_of(layers)}", fontsize=SMALL if example_of(layers) else None)
    many = len(runs) > 24
    axes.set_yticks(range(len(runs)), [run if not many or run == _MEAN else "" for run in runs])
    if not many and len(layers) <= 12:
        _write(axes, grid, limits)


def _write(axes: Axes, grid: Any, limits: tuple[float, float]) -> None:
    import numpy

    for (row, column), value in numpy.ndenumerate(grid):
        dark = (value - limits[0]) / ((limits[1] - limits[0]) or 1.0) > 0.55
        text = short(value) if numpy.isfinite(value) else _MISSING
        colour = MUTED if text == _MISSING else "white" if dark else INK
        axes.text(column, row, text, ha="center", va="center", fontsize=5, color=colour)
