"""Whether two stitches of the same layer are joined by a straight line of good ones (arXiv 2110.14633)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weightscape.figures.layer_panels import draw_layers
from weightscape.figures.layers import layer_order
from weightscape.figures.notes import lossy_note
from weightscape.figures.numbers import require
from weightscape.figures.pair_marks import missing_pairs_note
from weightscape.figures.pairs import pair_means, pairs_note
from weightscape.figures.registry import figure
from weightscape.figures.stitch_series import MEASURES, Measure, stitch_frame, stitch_looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table


@figure("stitch-interpolation")
def stitch_interpolation(
    table: Table,
    *,
    rows: Table | None = None,
    by: str | Sequence[str] | None = None,
    measure: Measure = "relative_accuracy",
    note: str = "",
    title: str = "",
) -> Chart:
    """How well the stitches on the straight line between two stitches do, a panel for every layer.

    The mean is over ordered pairs of networks, its interval over networks.

    Args:
        table: The table ``line`` of ``interpolate-stitches``: ``alpha`` (0 is the first stitch) and the measure.
        rows: The table of the stage itself: the settings of its rows, and which of them failed.
        by: Column or columns that tell curves apart, such as ``first.init`` and ``second.init``.
        measure: What is drawn.
        note: Printed below the figure.
        title: Printed above the figure.
    """
    require(table, ["alpha", measure], name="table")
    frame = stitch_frame(table, by=by, rows=rows, task="between two stitches")
    numbers = pair_means(frame, x="alpha", y=measure, quantity=MEASURES[measure])
    notes = [pairs_note(numbers), lossy_note(frame), note, missing_pairs_note(frame, measure)]

    def arrange(axes: Axes) -> None:
        axes.set_xticks([0, 0.5, 1], ["first", "½", "second"])

    return draw_layers(
        numbers,
        layer_order(frame),
        stitch_looks(frame["series"]),
        x_label="place on the line",
        measure=measure,
        arrange=arrange,
        notes=notes,
        title=title,
    )
