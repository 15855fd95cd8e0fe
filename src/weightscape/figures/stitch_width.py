"""Whether wider networks are easier to join (arXiv 2110.14633)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from weightscape.figures.layers import layer_order, layer_ticks
from weightscape.figures.notes import lossy_note
from weightscape.figures.numbers import require
from weightscape.figures.pair_marks import draw_means, fit_height, missing_pairs_note, name_axis
from weightscape.figures.pairs import pair_means, pairs_note, tidy_pairs
from weightscape.figures.registry import FigureError, figure
from weightscape.figures.stitch_series import MEASURES, SHARES, TASK, Measure, stitch_frame, stitch_looks, together
from weightscape.figures.style import MUTED, Look

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

_AVERAGE = "mean over layers"


@figure("stitch-width")
def stitch_width(
    table: Table,
    *,
    direct: Table | None = None,
    rows: Table | None = None,
    width: str = "front.model.width",
    methods: Sequence[str] = ("least-squares",),
    measure: Measure = "relative_accuracy",
    note: str = "",
    title: str = "",
) -> Chart:
    """Relative accuracy of stitches against the width of the networks: mean over layers, and layer by layer.

    Left: mean over the layers, against width. Right: the task loss layer by layer, a curve for every width. Means are
    over ordered pairs of networks, intervals over networks.

    Args:
        table: One row per pair and layer, as ``stitch`` has them.
        direct: The table ``matches`` of ``direct-matching``.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        width: Column with the width of the networks: a number, or a name or list whose last number is the width.
        methods: Methods of direct matching that are drawn.
        measure: What is drawn.
        note: Printed below the figure.
        title: Printed above the figure.
    """
    frames = [_with_width(table, width, rows=rows, name="table")]
    if direct is not None:
        frames.append(_with_width(direct, width, methods=methods, name="direct"))
    for name, frame in zip(("table", "direct"), frames, strict=False):
        require(frame, [measure], name=name)
    frame = together(frames)
    quantity = MEASURES[measure]
    numbers = tidy_pairs(
        [
            pair_means(_over_layers(frame, measure), x="width", y=measure, quantity=f"{quantity}, {_AVERAGE}"),
            pair_means(_by_width(frame), x="place", y=measure, quantity=quantity, panel="width"),
        ]
    )
    notes = [pairs_note(numbers), lossy_note(frame), note, missing_pairs_note(_by_width(frame), measure)]
    return _draw(frame, numbers, measure, notes=notes, title=title)


def _with_width(
    table: Table, width: str, *, name: str, rows: Table | None = None, methods: Sequence[str] | None = None
) -> pandas.DataFrame:
    frame = stitch_frame(table, methods=methods, rows=rows, name=name)
    require(frame, [width], name=name)
    return frame.assign(width=[_number(value, width) for value in frame[width]])


def _number(value: Any, column: str) -> float:
    """Return the last number in a value: 16 of ``[16, 16]``, 3 of ``resnet20_w3``.

    Raises:
        FigureError: If there is none.
    """
    import re

    found = re.findall(r"\d+(?:\.\d+)?", str(value))
    if not found:
        raise FigureError(f"The column {column!r} has no number in {value!r}; 'width' names the column with the width.")
    return float(found[-1])


def _over_layers(frame: pandas.DataFrame, measure: str) -> pandas.DataFrame:
    """Return the mean over layers of every pair; a pair that lacks a layer has none."""
    keys = ["series", "width", "first", "second", "run"]
    grouped = frame.groupby(keys, sort=False)[measure]
    means = grouped.mean().where(grouped.count() == frame["layer"].nunique()).reset_index()
    return means.assign(failed=False)


def _by_width(frame: pandas.DataFrame) -> pandas.DataFrame:
    trained = frame.loc[frame["series"] == TASK] if (frame["series"] == TASK).any() else frame
    return trained.assign(series=[f"width {width:g}" for width in trained["width"]])


def _draw(
    frame: pandas.DataFrame, numbers: pandas.DataFrame, measure: Measure, *, notes: Sequence[str], title: str
) -> Chart:
    from weightscape.figures.chart import finish, new_chart
    from weightscape.figures.marks import handle

    average = numbers["quantity"].str.endswith(_AVERAGE)
    methods = stitch_looks(frame["series"])
    widths = _width_looks(sorted(frame["width"].dropna().unique()))
    chart, panels = new_chart(numbers, columns=2, share_y=True)
    for axes, looks, part in zip(panels, (methods, widths), (numbers[average], numbers[~average]), strict=True):
        for name, look in looks.items():
            alone = looks is methods  # five bands would cover each other
            draw_means(axes, part.loc[part["series"] == name], look, thin=alone, band=alone)
        if measure in SHARES:
            axes.axhline(1.0, color=MUTED, linewidth=0.6, zorder=0.5)
    fit_height(panels[0], numbers)
    _label(panels, frame, measure)
    handles = [handle(look) for look in (*methods.values(), *widths.values())]
    return finish(chart, handles, notes=notes, title=title)


def _label(panels: Sequence[Axes], frame: pandas.DataFrame, measure: str) -> None:
    ticks = sorted(frame["width"].dropna().unique())
    panels[0].set_xscale("log", base=2)
    panels[0].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panels[0].set_xticks([], minor=True)
    panels[0].set_xlabel("width")
    panels[0].set_title(_AVERAGE)
    panels[1].set_title(TASK)
    name_axis(panels[0], MEASURES[measure])
    layer_ticks(panels[1], layer_order(frame))


def _width_looks(widths: Sequence[float]) -> dict[str, Look]:
    """Return a colour for every width: the wider, the darker."""
    import matplotlib
    from matplotlib.colors import to_hex

    colours = matplotlib.colormaps["viridis_r"]
    base = Look("", "", "o")
    steps = max(len(widths) - 1, 1)
    return {
        f"width {width:g}": replace(base, label=f"width {width:g}", colour=to_hex(colours(0.15 + 0.85 * place / steps)))
        for place, width in enumerate(widths)
    }
