"""What a stitch does to the similarity of representations, and what to the outputs (arXiv 2110.14633)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from weightscape.figures.layers import layer_order, layer_ticks
from weightscape.figures.notes import lossy_note
from weightscape.figures.numbers import require
from weightscape.figures.pair_marks import draw_means, fit_height, missing_pairs_note, name_axis
from weightscape.figures.pairs import pair_means, pairs_note, tidy_pairs
from weightscape.figures.registry import figure
from weightscape.figures.stitch_series import (
    BEFORE,
    MEASURES,
    METHODS,
    TASK,
    Measure,
    beginnings,
    stitch_frame,
    stitch_looks,
    together,
)
from weightscape.figures.style import MUTED

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

Similarity = Literal["cka", "cka_debiased", "l2"]
SIMILARITIES = {
    "cka": "linear CKA with the back network",
    "cka_debiased": "debiased linear CKA with the back network",
    "l2": "mean squared difference from the back network",
}
UNSTITCHED = "as they are"


@figure("stitch-similarity")
def stitch_similarity(
    table: Table,
    *,
    direct: Table | None = None,
    rows: Table | None = None,
    by: str | Sequence[str] | None = None,
    method: str = "least-squares",
    similarity: Similarity = "cka",
    measure: Measure = "kl",
    note: str = "",
    title: str = "",
) -> Chart:
    """Similarity with the back network's representation beside that of the outputs, by layer, and what the task does.

    Above: of the activations after the stitch, and of the outputs. Below: the task loss minus direct matching, pair by
    pair; minus the stitch before training where there is no table of direct matching. The task loss brings outputs
    nearer while the representation is as similar as before, or less. Means are over ordered pairs of networks,
    intervals over networks.

    Args:
        table: One row per pair and layer, as ``stitch`` has them: ``front_layer``, ``depth``, the similarity, the
            measure, and the settings of both networks.
        direct: The table ``matches`` of ``direct-matching``; where it has ``cka_unstitched``, the similarity of the
            two layers as they are is drawn as well.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        by: Column or columns that tell curves of the task loss apart.
        method: The method of direct matching.
        similarity: How alike activations are: CKA, its debiased estimate, or the mean squared difference.
        measure: How alike outputs are, or how accurate they.
        note: Printed below the figure.
        title: Printed above the figure.
    """
    require(table, [similarity, measure], name="table")
    trained = stitch_frame(table, by=by, rows=rows)
    if direct is None:
        base, other = BEFORE, beginnings(trained, [similarity, measure])
    else:
        require(direct, [similarity, measure], name="direct")
        base, other = METHODS.get(method, method), stitch_frame(direct, methods=(method,), name="direct")
    frame = together([trained, other])
    quantities = {similarity: SIMILARITIES[similarity], measure: MEASURES[measure]}
    parts = [pair_means(frame, x="place", y=column, quantity=name) for column, name in quantities.items()]
    if similarity == "cka" and "cka_unstitched" in frame.columns:
        alone = frame.loc[frame["series"].str.startswith(base)].assign(series=UNSTITCHED)
        parts.append(pair_means(alone, x="place", y="cka_unstitched", quantity=quantities[similarity]))
    differences = _differences(frame, base, list(quantities))
    parts += [
        pair_means(differences, x="place", y=column, quantity=f"difference of {name}")
        for column, name in quantities.items()
    ]
    numbers = tidy_pairs(parts)
    below = f"Below: {TASK} minus {base}, pair by pair."
    notes = [below, pairs_note(numbers), lossy_note(frame), note, missing_pairs_note(frame, measure)]
    return _draw(frame, numbers, list(quantities.values()), notes=notes, title=title)


def _differences(frame: pandas.DataFrame, direct: str, columns: Sequence[str]) -> pandas.DataFrame:
    """Return what the task loss changes against direct matching, per pair and layer."""
    keys = ["first", "second", "layer"]
    good = frame.loc[~frame["failed"]]
    matched = good["series"].str.startswith(direct)
    base = good.loc[matched].groupby(keys)[list(columns)].mean()
    others = good.loc[~matched]
    joined = others.drop(columns=list(columns)).join(base, on=keys)
    return joined.assign(**{column: others[column] - joined[column] for column in columns})


def _draw(
    frame: pandas.DataFrame, numbers: pandas.DataFrame, quantities: Sequence[str], *, notes: Sequence[str], title: str
) -> Chart:
    from weightscape.figures.chart import finish, new_chart
    from weightscape.figures.marks import handle

    drawn = stitch_looks(numbers["series"])
    chart, panels = new_chart(numbers, rows=2, columns=2, row_height=1.85)
    wanted = [*quantities, *(f"difference of {name}" for name in quantities)]
    for place, (axes, quantity) in enumerate(zip(panels, wanted, strict=True)):
        for name, look in drawn.items():
            chosen = (numbers["quantity"] == quantity) & (numbers["series"] == name)
            draw_means(axes, numbers.loc[chosen], look)
        fit_height(axes, numbers.loc[numbers["quantity"] == quantity])
        layer_ticks(axes, layer_order(frame))
        _arrange(axes, quantity, lowest=place >= 2)
    return finish(chart, [handle(look) for look in drawn.values()], notes=notes, title=title)


def _arrange(axes: Axes, quantity: str, *, lowest: bool) -> None:
    zero: dict[str, Any] = {"color": MUTED, "linewidth": 0.6, "zorder": 0.5}
    name_axis(axes, "difference" if lowest else quantity, characters=26)
    if lowest:
        axes.axhline(0.0, **zero)
    else:
        axes.tick_params(labelbottom=False)
        axes.set_xlabel("")
