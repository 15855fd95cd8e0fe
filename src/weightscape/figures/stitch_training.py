"""Similarity of representations and of outputs while a stitch is trained (arXiv 2110.14633)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from weightscape.figures.notes import lossy_note
from weightscape.figures.numbers import require
from weightscape.figures.pair_marks import draw_means, fit_height, missing_pairs_note, name_axis
from weightscape.figures.pairs import pair_means, pairs_note, tidy_pairs
from weightscape.figures.registry import FigureError, figure
from weightscape.figures.stitch_series import MEASURES, stitch_frame, stitch_looks

if TYPE_CHECKING:
    import pandas

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

_QUANTITIES = {
    "cka": "linear CKA with the back network",
    "cka_debiased": "debiased linear CKA with the back network",
    "linear_regression": "linear regression R²",
    "cross_entropy": MEASURES["cross_entropy"],
    "kl": MEASURES["kl"],
    "accuracy": "accuracy (share)",
    "relative_accuracy": MEASURES["relative_accuracy"],
    "agreement": MEASURES["agreement"],
}


@figure("stitch-training")
def stitch_training(
    table: Table,
    *,
    rows: Table | None = None,
    by: str | Sequence[str] | None = None,
    measures: Sequence[str] = ("cka", "linear_regression", "kl", "accuracy"),
    scale: Literal["linear", "log"] = "linear",
    note: str = "",
    title: str = "",
) -> Chart:
    """Indices of similarity, distance of the outputs and accuracy along the training of a stitch, a panel for each.

    With ``by: cka_reg`` it shows that CKA can be made low while accuracy stays high. Means are over ordered pairs of
    networks, intervals over networks.

    Args:
        table: The table ``iterations`` of ``stitch``: ``iteration`` and the measures.
        rows: The table of the stage itself: the settings of its rows, and which of them failed.
        by: Column or columns that tell curves apart: ``front_layer``, ``cka_reg``, ``init``.
        measures: What is drawn; those that the table lacks are left out.
        scale: Scale of the iterations; with log, iteration 0 stands before 1.
        note: Printed below the figure.
        title: Printed above the figure.

    Raises:
        FigureError: If the table has none of the measures.
    """
    require(table, ["iteration"], name="table")
    wanted = [name for name in measures if name in table.columns and table[name].notna().any()]
    if not wanted:
        raise FigureError(
            f"The table 'table' needs one of the columns {', '.join(measures)}; it has: {', '.join(table.columns)}."
        )
    frame = stitch_frame(table, by=by, rows=rows)
    parts = [pair_means(frame, x="iteration", y=name, quantity=_QUANTITIES.get(name, name)) for name in wanted]
    numbers = tidy_pairs(parts)
    notes = [pairs_note(numbers), lossy_note(frame), note, missing_pairs_note(frame, wanted[0])]
    return _draw(frame, numbers, scale=scale, notes=notes, title=title)


def _draw(
    frame: pandas.DataFrame,
    numbers: pandas.DataFrame,
    *,
    scale: Literal["linear", "log"],
    notes: Sequence[str],
    title: str,
) -> Chart:
    from weightscape.figures.chart import finish, new_chart
    from weightscape.figures.marks import handle

    drawn = stitch_looks(frame["series"])
    quantities = list(dict.fromkeys(numbers["quantity"]))
    columns = min(2, len(quantities))
    number = -(-len(quantities) // columns)
    chart, panels = new_chart(numbers, rows=number, columns=columns, row_height=1.9 if number > 1 else 2.5)
    for place, axes in enumerate(panels):
        if place >= len(quantities):
            axes.set_visible(False)
            continue
        for name, look in drawn.items():
            chosen = (numbers["quantity"] == quantities[place]) & (numbers["series"] == name)
            draw_means(axes, numbers.loc[chosen], look)
        fit_height(axes, numbers.loc[numbers["quantity"] == quantities[place]])
        if scale == "log":
            axes.set_xscale("symlog", linthresh=1)
        name_axis(axes, quantities[place], characters=26)
        if place + columns >= len(quantities):
            axes.set_xlabel("iteration")
        else:
            axes.tick_params(labelbottom=False)
    handles = [handle(look) for look in drawn.values()]
    return finish(chart, handles if len(drawn) > 1 else [], notes=notes, title=title)
