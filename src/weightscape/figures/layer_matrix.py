"""Every layer of one network against every layer of another, as a heat map for each measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weightscape.figures.layer_tables import (
    comparisons,
    interval_note,
    layer_order,
    means,
    missing_pairs_note,
    null_note,
    pairs_note,
    samples_note,
)
from weightscape.figures.notes import lossy_note
from weightscape.figures.registry import figure
from weightscape.figures.style import INK, PAPER_WIDTH

if TYPE_CHECKING:
    import numpy
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

_COLOURS = "YlGnBu"
_LEAST_CELL = 0.17  # inches: two digits of the smallest font that can be read
_MARGIN = 1.05  # inches beside the cells of a panel: names of layers, label, colour bar


@figure("layer-matrix")
def layer_matrix(
    table: Table,
    *,
    rows: Table | None = None,
    measures: Sequence[str] | None = None,
    by: str | Sequence[str] = (),
    note: str = "",
    title: str = "",
) -> Chart:
    """Heat map of the similarity of every layer of one network with every layer of another, a panel for each measure.

    Layers stand in order of execution, the first at the bottom and on the left; dark is alike. A cell has the value of
    one pair of networks, or the mean over several; below the figure stand the number of samples, pairs and networks,
    what shuffled pairs of samples give, and the widest interval. The intervals of all cells are in the CSV.

    Args:
        table: One row per pair of networks, pair of layers and measure: ``source_layer``, ``target_layer``, their
            depths, ``measure``, ``value``, and where known ``low``, ``high``, ``null``, ``n`` and ``form``.
        rows: The table of the stage itself, whose failed rows are then counted.
        measures: Measures to draw; all by default.
        by: Column or columns that tell panels of one measure apart.
        note: Printed below the figure.
        title: Printed above the figure.
    """
    frame = comparisons(table, rows=rows, by=by, measures=measures)
    numbers = means(frame)
    notes = [
        ", ".join(part for part in (pairs_note(numbers), samples_note(frame)) if part),
        null_note(numbers),
        interval_note(numbers),
        note,
        lossy_note(frame),
        missing_pairs_note(frame),
    ]
    return _draw(frame, numbers, notes=notes, title=title)


def _draw(frame: pandas.DataFrame, numbers: pandas.DataFrame, *, notes: Sequence[str], title: str) -> Chart:
    from weightscape.figures.chart import finish, new_chart

    keys = list(dict.fromkeys(zip(numbers["quantity"], numbers["series"], strict=True)))
    orders = [_orders(frame, numbers, key) for key in keys]
    widest = max((len(target) for _, target in orders), default=1)
    tallest = max((len(source) for source, _ in orders), default=1)
    columns = _columns(len(keys), widest)
    cell = min(PAPER_WIDTH / columns - _MARGIN, 3.4) / widest
    number = math.ceil(len(keys) / columns) or 1
    distances = set(frame.loc[frame["kind"] == "distance", "measure"]) if "kind" in frame.columns else set()
    chart, panels = new_chart(numbers, rows=number, columns=columns, row_height=min(cell, 0.6) * tallest + 0.75)
    for axes, (quantity, series), (source, target) in zip(panels, keys, orders, strict=False):
        part = numbers.loc[(numbers["quantity"] == quantity) & (numbers["series"] == series)]
        name = f"{quantity} (distance)" if quantity in distances else quantity
        image = _panel(axes, part, source, target, cell=min(cell, 0.6), reverse=quantity in distances)
        axes.set_title(name if series == "all" else f"{name}, {series}")
        bar = axes.inset_axes((1.03, 0.0, 0.12 / (min(cell, 0.6) * len(target)), 1.0))
        chart.colorbar(image, cax=bar).outline.set_visible(False)
    for axes in panels[len(keys) :]:
        axes.set_visible(False)
    return finish(chart, [], notes=notes, title=title)


def _orders(frame: pandas.DataFrame, numbers: pandas.DataFrame, key: tuple[str, str]) -> tuple[list[str], list[str]]:
    """Return the layers of a panel, of source and target, in order of execution."""
    part = numbers.loc[(numbers["quantity"] == key[0]) & (numbers["series"] == key[1])]
    return layer_order(part, "source"), layer_order(part, "target")


def _columns(panels: int, layers: int) -> int:
    """Return how many panels stand side by side so that the digits in the cells can still be read."""
    for columns in (3, 2):
        if panels >= columns and (PAPER_WIDTH / columns - _MARGIN) / layers >= _LEAST_CELL:
            return columns
    return 1


def _panel(
    axes: Axes, rows: pandas.DataFrame, source: list[str], target: list[str], *, cell: float, reverse: bool
) -> AxesImage:
    import matplotlib
    import numpy

    values = numpy.full((len(source), len(target)), numpy.nan)
    for first, second, value in rows[["source_layer", "target_layer", "y"]].itertuples(index=False):
        values[source.index(first), target.index(second)] = value
    low, high = _limits(values)
    colours = matplotlib.colormaps[_COLOURS + "_r" * reverse].with_extremes(bad="white")
    image = axes.imshow(values, origin="lower", cmap=colours, vmin=low, vmax=high, aspect="equal")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    size = min(7.0, 72 * cell / 2.7)
    style: dict[str, Any] = {"fontsize": min(7.0, max(size, 4.0))}
    axes.set_yticks(range(len(source)), source, **style)
    turned = max(map(len, target), default=0) * 0.055 > cell
    axes.set_xticks(range(len(target)), target, rotation=90 if turned else 0, **style)
    axes.set_ylabel("layer of the first network")
    axes.set_xlabel("layer of the second network")
    if size >= 3.5:
        _write_values(axes, values, image, size=size)
    return image


def _limits(values: numpy.ndarray) -> tuple[float, float]:
    """Return the ends of the colours: 0 and 1 for what lies there, else those of the values and 0."""
    import numpy

    if not numpy.isfinite(values).any():
        return 0.0, 1.0
    low, high = float(numpy.nanmin(values)), float(numpy.nanmax(values))
    if low >= -0.5 and high <= 1.0 + 1e-9:
        return min(low, 0.0), 1.0
    return min(low, 0.0), high


def _write_values(axes: Axes, values: numpy.ndarray, image: AxesImage, *, size: float) -> None:
    import numpy

    for (row, column), value in numpy.ndenumerate(values):
        if numpy.isfinite(value):
            red, green, blue, _ = image.to_rgba(value)
            bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.55
            colour = INK if bright else "white"
            axes.text(column, row, short(value), ha="center", va="center", fontsize=size, color=colour)


def short(value: float) -> str:
    """Return a value with two digits, without the 0 before the point.

    >>> short(0.987), short(0.999), short(-0.034), short(-0.001), short(12.34), short(1234.0)
    ('.99', '1.0', '-.03', '.00', '12', '1e3')
    """
    if abs(value) >= 1000:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    digits = 0 if abs(value) >= 10 else 1 if round(abs(value), 2) >= 1 else 2
    text = f"{value:.{digits}f}"
    text = text.removeprefix("-") if not float(text) else text
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
