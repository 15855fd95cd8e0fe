"""How the training of stitches went: loss, penalty and learning rate along the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weightscape.figures.notes import lossy_note, missing_note, runs_note
from weightscape.figures.numbers import counts, curves, labelled, require, tidy
from weightscape.figures.registry import FigureError, figure
from weightscape.figures.style import looks

if TYPE_CHECKING:
    import pandas

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

_QUANTITIES = {
    "target_loss": "loss to the target (nats)",
    "penalty": "penalty",
    "batch_cka": "CKA of the batches",
    "lr": "learning rate",
}


@figure("stitch-course")
def stitch_course(
    table: Table,
    *,
    rows: Table | None = None,
    by: str | Sequence[str] = (),
    note: str = "",
    title: str = "",
) -> Chart:
    """The course of training a stitch: loss to the target, what regularisation adds, and the learning rate.

    Means over the steps of each epoch, each step at the weights that it began with. For several runs thin lines are
    single ones, the bold line their mean, the band one standard deviation (n-1).

    Args:
        table: The table ``epochs`` of ``stitch``: ``epoch``, ``target_loss``, ``penalty``, ``lr``.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        by: Column or columns that tell the curves apart: ``front_layer``, ``init``.
        note: Printed below the figure.
        title: Printed above the figure.

    Raises:
        FigureError: If the table has no losses.
    """
    require(table, ["epoch", "target_loss"], name="table")
    if not table["target_loss"].notna().any():
        raise FigureError("The table 'table' has no losses: stitches of 0 epochs were not trained.")
    frame = labelled(table, by=by, rows=rows)
    wanted = [name for name in _QUANTITIES if name in frame.columns and _says_something(name, frame[name])]
    parts = [curves(frame, x="epoch", y=name, quantity=_QUANTITIES[name]) for name in wanted]
    number = counts(frame, y="target_loss")
    lossy = lossy_note(table if rows is None else rows)
    return _draw(frame, tidy(parts), number, lossy=lossy, note=note, title=title)


def _says_something(name: str, column: pandas.Series[float]) -> bool:
    return bool(column.notna().any()) and (name != "penalty" or bool((column.fillna(0.0) != 0).any()))


def _draw(
    frame: pandas.DataFrame,
    numbers: pandas.DataFrame,
    number: dict[str, tuple[int, int]],
    *,
    lossy: str,
    note: str,
    title: str,
) -> Chart:
    from weightscape.figures.chart import finish, integer_ticks, new_chart
    from weightscape.figures.marks import draw_curve, handle

    drawn = looks(name for name in number if name in set(numbers["series"]))
    quantities = list(dict.fromkeys(numbers["quantity"]))
    columns = min(len(quantities), 2)
    chart, panels = new_chart(numbers, rows=-(-len(quantities) // columns), columns=columns, row_height=2.1)
    for axes, quantity in zip(panels, quantities, strict=False):
        for name, look in drawn.items():
            draw_curve(axes, numbers.loc[(numbers["quantity"] == quantity) & (numbers["series"] == name)], look)
        if quantity == _QUANTITIES["lr"]:
            axes.set_yscale("log")
        axes.set_ylabel(quantity)
        axes.set_xlabel("epoch")
        integer_ticks(axes)
    for axes in panels[len(quantities) :]:
        axes.set_visible(False)
    handles = [handle(look) for look in drawn.values()]
    alone = max((good for good, _ in number.values()), default=0) < 2
    notes = ["" if alone else runs_note(frame, number), lossy, note, missing_note(frame, number, drawn)]
    return finish(chart, handles if len(drawn) > 1 else [], notes=notes, title=title)
