"""How sparse a stitch may be, for matching on the task and for direct matching (arXiv 2110.14633)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weightscape.figures.layer_panels import draw_layers
from weightscape.figures.layers import layer_order
from weightscape.figures.notes import lossy_note
from weightscape.figures.numbers import require
from weightscape.figures.pair_marks import missing_pairs_note
from weightscape.figures.pairs import PAIR_COLUMNS, pair_means, pairs_note
from weightscape.figures.registry import figure
from weightscape.figures.stitch_series import MEASURES, Measure, stitch_frame, stitch_looks, together

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table


@figure("stitch-sparsity")
def stitch_sparsity(
    table: Table,
    *,
    direct: Table | None = None,
    rows: Table | None = None,
    by: str | Sequence[str] | None = None,
    measure: Measure = "relative_accuracy",
    threshold: float | None = 1e-4,
    note: str = "",
    title: str = "",
) -> Chart:
    """How well sparse stitches do, a panel for every layer: an l1 penalty on the task, and on direct matching.

    A dot is one strength of the penalty: across, the mean share of entries of the matrix that are zero; upwards, the
    mean of the measure over ordered pairs of networks with its interval over networks.

    Args:
        table: The table ``thresholds`` of ``stitch`` (``threshold``, ``sparsity`` and the measure), or its rows.
        direct: The table ``matches`` of ``direct-matching``, of which the rows ``sparse`` are drawn.
        rows: The table of the stage itself: the settings of its rows, and which of them failed.
        by: Column or columns that tell curves apart beside the method.
        measure: What is drawn.
        threshold: Entries of the matrix below it were set to zero; all thresholds when None.
        note: Printed below the figure.
        title: Printed above the figure.
    """
    require(table, ["sparsity", measure], name="table")
    if threshold is not None and "threshold" in table.columns:
        table = table.loc[(table["threshold"] - threshold).abs() <= 1e-6 * threshold]
    frame = stitch_frame(table, by=by, rows=rows)
    frame = frame.assign(strength=frame["l1"] if "l1" in frame.columns else float("nan"))
    if threshold is None and "threshold" in frame.columns:
        frame = frame.assign(strength=frame["strength"].fillna(0.0) + 1e6 * frame["threshold"].rank(method="dense"))
    frames = [frame.assign(strength=frame["strength"].fillna(0.0))]
    if direct is not None:
        require(direct, ["penalty", "sparsity", measure], name="direct")
        other = stitch_frame(direct, methods=("sparse",), name="direct")
        frames.append(other.assign(strength=other["penalty"].fillna(0.0)))
    frame = together(frames)
    numbers = _against_sparsity(frame, measure)
    notes = [pairs_note(numbers, thin=False), lossy_note(frame), note, missing_pairs_note(frame, measure)]

    def arrange(axes: Axes) -> None:
        axes.set_xlim(-0.03, 1.03)

    return draw_layers(
        numbers,
        layer_order(frame),
        stitch_looks(frame["series"]),
        x_label="share of zeros",
        measure=measure,
        arrange=arrange,
        notes=notes,
        title=title,
        thin=False,
    )


def _against_sparsity(frame: pandas.DataFrame, measure: Measure) -> pandas.DataFrame:
    """Return the measure at every strength of the penalty, at the sparsity that it leads to."""
    keys = ["series", "layer", "kind", "run", "x"]
    values = pair_means(frame, x="strength", y=measure, quantity=MEASURES[measure])
    places = pair_means(frame, x="strength", y="sparsity", quantity="share of zeros")[[*keys, "y"]]
    joined = values.merge(places.rename(columns={"y": "share"}), on=keys, how="left", validate="one_to_one")
    joined = joined.assign(x=joined["share"], strength=joined["x"])
    return joined[[*PAIR_COLUMNS, "strength"]]
