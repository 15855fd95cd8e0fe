"""What a limit on the rank of a stitch costs, for direct matching and for matching on the task (arXiv 2110.14633)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weightscape.figures.layer_panels import LEVEL_KIND, draw_layers
from weightscape.figures.layers import layer_order
from weightscape.figures.notes import lossy_note
from weightscape.figures.numbers import require
from weightscape.figures.pair_marks import missing_pairs_note
from weightscape.figures.pairs import pair_means, pairs_note, tidy_pairs
from weightscape.figures.registry import FigureError, figure
from weightscape.figures.stitch_series import FULL_RANK, MEASURES, Measure, stitch_frame, stitch_looks, together

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table


@figure("stitch-rank")
def stitch_rank(
    table: Table,
    *,
    stitched: Table | None = None,
    rows: Table | None = None,
    by: str | Sequence[str] | None = None,
    measure: Measure = "relative_accuracy",
    levels: Sequence[str] = ("least-squares", "orthogonal"),
    note: str = "",
    title: str = "",
) -> Chart:
    """How well stitches of low rank do, a panel for every layer: reduced-rank regression and matching on the task.

    Dotted lines are stitches without a limit of rank. The mean is over ordered pairs of networks, its interval over
    networks.

    Args:
        table: The table ``matches`` of ``direct-matching``: ``front_layer``, ``depth``, ``method``, ``rank`` and the
            measure.
        stitched: Rows of ``stitch`` with ``rank``; those without one are of full rank.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        by: Column or columns of `stitched` that tell curves apart.
        measure: What is drawn.
        levels: Methods of direct matching drawn as dotted lines.
        note: Printed below the figure.
        title: Printed above the figure.

    Raises:
        FigureError: If no row has a rank.
    """
    require(table, ["method", "rank", measure], name="table")
    matched = stitch_frame(table, methods=("reduced-rank", *levels), rows=rows)
    frames = [matched.assign(rank=matched["rank"].where(matched["method"] == "reduced-rank"))]
    if stitched is not None:
        require(stitched, ["rank", measure], name="stitched")
        trained = stitch_frame(stitched, by=by, name="stitched")
        ending = trained["rank"].isna().map({True: FULL_RANK, False: ""})
        frames.append(trained.assign(series=trained["series"] + ending))
    frame = together(frames)
    limited = frame["rank"].notna()
    if not limited.any():
        raise FigureError("The table 'table' has no row with a rank: give 'direct-matching' the option 'ranks'.")
    quantity = MEASURES[measure]
    curves = pair_means(frame.loc[limited], x="rank", y=measure, quantity=quantity)
    lines = pair_means(frame.loc[~limited].assign(rank=0.0), x="rank", y=measure, quantity=quantity)
    lines = lines.loc[lines["kind"] == "mean"].assign(kind=LEVEL_KIND, x=float("nan"))
    numbers = tidy_pairs([curves, lines])
    notes = [pairs_note(numbers), lossy_note(frame), note, missing_pairs_note(frame, measure)]
    return _draw(frame, numbers, measure, notes=notes, title=title)


def _draw(
    frame: pandas.DataFrame, numbers: pandas.DataFrame, measure: Measure, *, notes: list[str], title: str
) -> Chart:
    across = set(numbers.loc[numbers["kind"] == LEVEL_KIND, "series"])
    drawn = stitch_looks(frame["series"])
    ranks = sorted(set(numbers["x"].dropna()))

    def arrange(axes: Axes) -> None:
        axes.set_xscale("log", base=2)
        axes.set_xticks(ranks, [f"{rank:g}" for rank in ranks])
        axes.set_xticks([], minor=True)

    return draw_layers(
        numbers,
        layer_order(frame),
        {name: look for name, look in drawn.items() if name not in across},
        across={name: look for name, look in drawn.items() if name in across},
        x_label="rank",
        measure=measure,
        arrange=arrange,
        notes=notes,
        title=title,
    )
