"""How well a network goes on from another's representation, layer by layer (arXiv 2110.14633)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from weightscape.figures.layers import layer_order, layer_ticks
from weightscape.figures.notes import lossy_note
from weightscape.figures.numbers import require
from weightscape.figures.pair_marks import draw_means, fit_height, missing_pairs_note, name_axis
from weightscape.figures.pairs import pair_means, pairs_note, tidy_pairs
from weightscape.figures.registry import figure
from weightscape.figures.stitch_series import ACCURACIES, MEASURES, RelativeTo, stitch_frame, stitch_looks, together
from weightscape.figures.style import MUTED

if TYPE_CHECKING:
    import pandas

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

_DASHED = (0, (4, 1.8))


@figure("stitch-matching")
def stitch_matching(
    table: Table,
    *,
    direct: Table | None = None,
    rows: Table | None = None,
    by: str | Sequence[str] | None = None,
    methods: Sequence[str] = ("least-squares",),
    relative_to: RelativeTo = "back",
    error: Literal["cross_entropy", "kl"] = "kl",
    scale: Literal["linear", "log"] = "linear",
    note: str = "",
    title: str = "",
) -> Chart:
    """Relative accuracy and distance of the outputs by layer, for matching on the task and for direct matching.

    Dashed: accuracy of the stitched network over that of the back network. Solid: how far its outputs are from those of
    the back network. The mean is over ordered pairs of networks, its interval over networks.

    Args:
        table: One row per pair and layer, as ``stitch`` has them (or ``direct-matching.matches`` alone):
            ``front_layer``, ``depth``, ``relative_accuracy`` and so on, and the settings of both networks.
        direct: The table ``matches`` of ``direct-matching``.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        by: Column or columns that tell curves apart beside the method, such as ``init``.
        methods: Methods of direct matching that are drawn.
        relative_to: Accuracy over that of the back network, of the front network, or both above chance.
        error: Soft cross-entropy (its least value is the entropy of the back network's outputs) or Kullback-Leibler
            divergence (its least value is 0), per image.
        scale: Scale of that error.
        note: Printed below the figure.
        title: Printed above the figure.
    """
    column, quantity = ACCURACIES[relative_to]
    frame = stitch_frame(table, by=by, methods=methods, rows=rows)
    require(frame, [column, error], name="table")
    if direct is not None:
        require(direct, [column, error], name="direct")
        frame = together([frame, stitch_frame(direct, methods=methods, name="direct")])
    parts = [
        pair_means(frame, x="place", y=column, quantity=quantity),
        pair_means(frame, x="place", y=error, quantity=MEASURES[error]),
    ]
    numbers = tidy_pairs(parts)
    notes = [pairs_note(numbers), lossy_note(frame), note, missing_pairs_note(frame, column)]
    return _draw(frame, numbers, (quantity, MEASURES[error]), scale=scale, notes=notes, title=title)


def _draw(
    frame: pandas.DataFrame,
    numbers: pandas.DataFrame,
    quantities: tuple[str, str],
    *,
    scale: Literal["linear", "log"],
    notes: Sequence[str],
    title: str,
) -> Chart:
    from weightscape.figures.chart import finish, new_chart
    from weightscape.figures.marks import handle

    drawn = stitch_looks(frame["series"])
    chart, panels = new_chart(numbers, columns=2)
    for axes, quantity, dash in zip(panels, quantities, (_DASHED, "-"), strict=True):
        for name, look in drawn.items():
            chosen = (numbers["quantity"] == quantity) & (numbers["series"] == name)
            draw_means(axes, numbers.loc[chosen], look, dash=dash)
        fit_height(axes, numbers.loc[numbers["quantity"] == quantity], begin=0.0)
        layer_ticks(axes, layer_order(frame))
        name_axis(axes, quantity)
    panels[0].axhline(1.0, color=MUTED, linewidth=0.6, zorder=0.5)
    if scale == "log":
        panels[1].set_yscale("log")
        panels[1].autoscale(axis="y")
    handles = [handle(look) for look in drawn.values()]
    return finish(chart, handles, notes=notes, title=title)
