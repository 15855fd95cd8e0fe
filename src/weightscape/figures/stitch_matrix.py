"""Stitches from every layer to every layer: whether a high accuracy means that representations are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weightscape.figures.layer_matrix import layer_matrix
from weightscape.figures.numbers import require
from weightscape.figures.pair_marks import missing_pairs_note
from weightscape.figures.registry import figure
from weightscape.figures.stitch_series import MEASURES, Measure, stitch_frame

if TYPE_CHECKING:
    import pandas

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

_SIDES = "First: the front network, up to its layer. Second: the back network, from its layer on."
ITSELF, ANOTHER = "a network with itself", "a network with another"


@figure("stitch-matrix")
def stitch_matrix(
    table: Table,
    *,
    rows: Table | None = None,
    by: str | Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    measure: Measure = "relative_accuracy",
    note: str = "",
    title: str = "",
) -> Chart:
    """Stitches from every layer of the front to every layer of the back network, a panel for a network with itself.

    A stitch between distant layers that does as well as one between corresponding layers, or a network joined with
    itself at other layers, warns that accuracy after a stitch is no measure of similarity (arXiv 2412.11299).

    Args:
        table: One row per pair of networks and pair of layers, as ``stitch`` or ``direct-matching.matches`` have them.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        by: Column or columns that tell panels apart, beside the method and whether a network is joined with itself.
        methods: Methods of direct matching that are drawn; all by default.
        measure: What is drawn.
        note: Printed below the figure.
        title: Printed above the figure.
    """
    import pandas

    require(table, [measure], name="table")
    frame = stitch_frame(table, by=by, methods=methods, rows=rows)
    frame = frame.assign(panel=_panels(frame))
    back = frame["back_layer"].fillna(frame["front_layer"]) if "back_layer" in frame.columns else frame["front_layer"]
    depths = frame.groupby("front_layer")["depth"].min() if "depth" in frame.columns else pandas.Series(dtype=float)
    converted = frame.assign(
        source_layer=frame["front_layer"],
        target_layer=back,
        source_depth=frame["front_layer"].map(depths),
        target_depth=back.map(depths),
        measure=frame["panel"],
        value=frame[measure].astype(float),
        source=frame["first"],
        target=frame["second"],
    )
    kept = ["source_layer", "target_layer", "source_depth", "target_depth", "measure", "value", "source", "target"]
    kept += [column for column in ("lossy_images",) if column in frame.columns]
    good = converted.loc[~frame["failed"] & frame[measure].notna(), kept]
    missing = [
        missing_pairs_note(part.assign(series=name), measure) for name, part in frame.groupby("panel", sort=False)
    ]
    notes = [note, f"{MEASURES[measure].capitalize()}.", _SIDES, *missing]
    return layer_matrix(good, note=" ".join(part for part in notes if part), title=title)


def _panels(frame: pandas.DataFrame) -> list[str]:
    """Return which panel every row is in: who is joined with whom, and how."""
    same = [
        ITSELF if first == second else ANOTHER for first, second in zip(frame["first"], frame["second"], strict=True)
    ]
    several = frame["series"].nunique() > 1
    return [f"{name}, {kind}" if several else kind for name, kind in zip(frame["series"], same, strict=True)]
