"""How well the permuted source's gradients point along the target's (assumption P of arXiv 2305.14122)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from weightscape.figures.notes import missing_note, runs_note
from weightscape.figures.numbers import counts, curves, labelled, require, tidy
from weightscape.figures.registry import figure
from weightscape.figures.style import MUTED, DashPattern, Look, looks

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

# What was measured on which batches, and the marks of each; the colour is the method's.
MEASURES: dict[str, tuple[str, str, DashPattern]] = {
    "cosine_matching": ("matching batches", "o", "-"),
    "cosine_heldout": ("held-out", "D", (0, (4, 1.5))),
    "cosine_identity": ("held-out, no permutation", "x", (0, (2, 1))),
    "cosine_null": ("held-out, random permutation", "", ":"),
}


@figure("transfer-cosine")
def transfer_cosine(
    table: Table,
    *,
    rows: Table | None = None,
    by: str | Sequence[str] | None = None,
    x: Literal["step", "fraction"] = "step",
    title: str = "",
) -> Chart:
    """Cosine between the permuted source's gradient and the target's, one panel per method.

    A cosine on the batches that the permutation was fitted on flatters it: the one on held-out batches is the evidence,
    those of no permutation and of a random one, on the same batches, say what is to be expected without matching.

    Args:
        table: One row per pair, method and step: the `by` columns, ``step``, ``cosine_matching``, ``cosine_heldout``,
            ``cosine_null``, where measured ``cosine_identity``, and the seeds of the runs.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        by: Column or columns that tell the methods apart; ``method`` when left out.
        x: Steps, or the fraction lambda of the source's displacement.
        title: Printed above the figure.
    """
    frame = labelled(table, by=by, rows=rows)
    require(frame, [x, *(measure for measure in MEASURES if measure != "cosine_identity")], name="table")
    measures = [measure for measure in MEASURES if measure in frame.columns]
    numbers = tidy([curves(frame, x=x, y=measure, quantity=measure) for measure in measures])
    any_cosine = frame[measures].notna().any(axis=1)
    number = counts(frame.assign(any_cosine=any_cosine.map({True: 1.0})), y="any_cosine")
    drawn = {name: look for name, look in looks(number).items() if name in set(numbers["series"])}
    return _draw(frame, numbers, drawn, number, x=x, title=title)


def _draw(
    frame: pandas.DataFrame,
    numbers: pandas.DataFrame,
    drawn: dict[str, Look],
    number: dict[str, tuple[int, int]],
    *,
    x: str,
    title: str,
) -> Chart:
    from weightscape.figures.chart import finish, new_chart
    from weightscape.figures.marks import handle

    columns = min(max(len(drawn), 1), 4)
    rows = -(-max(len(drawn), 1) // columns)
    chart, panels = new_chart(numbers, rows=rows, columns=columns, row_height=2.0, share_y=True)
    for axes, (name, look) in zip(panels, drawn.items(), strict=False):
        _panel(axes, numbers.loc[numbers["series"] == name], look, x=x)
    for axes in panels[len(drawn) :]:
        axes.set_visible(False)
    panels[0].set_ylabel("cosine of the gradients")
    present = set(numbers["quantity"])
    handles = [
        handle(Look(label, MUTED, marker, dash)) for name, (label, marker, dash) in MEASURES.items() if name in present
    ]
    absent = [look.label for name, look in looks(number).items() if name not in drawn]
    notes = [
        runs_note(frame, number),
        missing_note(frame, {name: value for name, value in number.items() if name in drawn}, drawn),
        f"No cosines: {', '.join(absent)}" if absent else "",
    ]
    return finish(chart, handles, notes=notes, title=title)


def _panel(axes: Axes, numbers: pandas.DataFrame, look: Look, *, x: str) -> None:
    from weightscape.figures.chart import integer_ticks
    from weightscape.figures.marks import draw_curve

    axes.axhline(0.0, color=MUTED, linewidth=0.6, zorder=1)
    for measure, (_, marker, dash) in MEASURES.items():
        colour = MUTED if measure in {"cosine_identity", "cosine_null"} else look.colour
        draw_curve(axes, numbers.loc[numbers["quantity"] == measure], Look(look.label, colour, marker, dash))
    axes.set_title(look.label, color=look.colour)
    axes.set_xlabel("transfer step" if x == "step" else "fraction λ")
    if x == "step":
        integer_ticks(axes)
