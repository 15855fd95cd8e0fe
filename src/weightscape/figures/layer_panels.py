"""A panel for every layer, with the same axes in all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightscape.figures.pair_marks import draw_means, fit_height, name_axis
from weightscape.figures.stitch_series import MEASURES, SHARES, Measure
from weightscape.figures.style import MUTED, Look

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart

LEVEL_KIND = "level"
"""Kind of rows that are drawn as a horizontal line."""


def draw_layers(
    numbers: pandas.DataFrame,
    layers: Sequence[str],
    drawn: Mapping[str, Look],
    *,
    x_label: str,
    measure: Measure,
    arrange: Callable[[Axes], None],
    notes: Sequence[str],
    title: str,
    across: Mapping[str, Look] | None = None,
    thin: bool = True,
) -> Chart:
    """Draw a panel for every layer.

    Args:
        numbers: Rows with ``layer``, ``series``, ``kind``; those in `across` are horizontal lines.
        layers: In order.
        drawn: Looks of the curves.
        x_label: Below the lowest panels.
        measure: What is drawn upwards.
        arrange: What is done with every panel's axes: scale, ticks.
        notes: Printed below the figure.
        title: Printed above the figure.
        across: Looks of what has no place on the horizontal axis.
        thin: Whether single pairs are drawn, where they are few.
    """
    from weightscape.figures.chart import finish, new_chart
    from weightscape.figures.marks import handle

    across = across or {}
    columns = len(layers) if len(layers) <= 3 else 4 if len(layers) > 6 or len(layers) == 4 else 3
    number = math.ceil(len(layers) / columns)
    height = {1: 2.6, 2: 1.75}.get(number, 1.5)
    chart, panels = new_chart(numbers, rows=number, columns=columns, row_height=height, share_y=True)
    for axes, layer in zip(panels, layers, strict=False):
        rows = numbers.loc[numbers["layer"] == layer]
        _levels(axes, rows, across)
        for name, look in drawn.items():
            chosen = (rows["series"] == name) & (rows["kind"] != LEVEL_KIND)
            draw_means(axes, rows.loc[chosen], look, thin=thin)
        axes.set_title(layer, pad=3)
        arrange(axes)
        if measure in SHARES:
            axes.axhline(1.0, color=MUTED, linewidth=0.6, zorder=0.5)
    fit_height(panels[0], numbers, begin=0.0)
    _label(panels, len(layers), columns, x_label, MEASURES[measure], height)
    handles = [handle(look) for look in drawn.values()] + [
        handle(look, marker="", linestyle=":") for look in across.values()
    ]
    return finish(chart, handles if len(handles) > 1 else [], notes=notes, title=title)


def _levels(axes: Axes, rows: pandas.DataFrame, across: Mapping[str, Look]) -> None:
    for name, look in across.items():
        for level in rows.loc[(rows["series"] == name) & (rows["kind"] == LEVEL_KIND), "y"]:
            style: dict[str, Any] = {"color": look.colour, "linestyle": ":", "linewidth": 1.1, "zorder": 1.5}
            axes.axhline(level, **style)


def _label(panels: Sequence[Axes], used: int, columns: int, x_label: str, y_label: str, height: float) -> None:
    for place, axes in enumerate(panels):
        if place >= used:
            axes.set_visible(False)
        elif place + columns >= used:
            axes.set_xlabel(x_label)
        else:
            axes.tick_params(labelbottom=False)
        if place % columns == 0:
            name_axis(axes, y_label, characters=int(13 * height))
