"""The similarity of corresponding layers along the depth of two networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from weightscape.figures.layer_tables import (
    comparisons,
    layer_order,
    means,
    missing_pairs_note,
    pairs_note,
    samples_note,
)
from weightscape.figures.layers import layer_ticks
from weightscape.figures.notes import lossy_note
from weightscape.figures.registry import FigureError, figure
from weightscape.figures.style import PAPER_WIDTH, DashPattern, Look, looks

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

_DASHES: tuple[DashPattern, ...] = ("-", (0, (4, 2.5)), (0, (1.2, 1.8)), (0, (6, 1.5, 1, 1.5)))


@figure("similarity-curve")
def similarity_curve(
    table: Table,
    *,
    rows: Table | None = None,
    measures: Sequence[str] | None = None,
    by: str | Sequence[str] = (),
    note: str = "",
    title: str = "",
) -> Chart:
    """Similarity of corresponding layers of two networks along their depth, with intervals and the null.

    Layers correspond that have the same name, or the same place where networks of two architectures have equally many
    layers. For one pair of networks the band is the interval of the comparison, if it has one. For several, thin lines
    are single pairs (fewer than ten), the bold line is their mean, and the band its 95 % interval, which leaves out
    whole networks. The fine dotted line is what shuffled pairs of samples give.

    Args:
        table: One row per pair of networks, pair of layers and measure, as for ``layer-matrix``.
        rows: The table of the stage itself, whose failed rows are then counted.
        measures: Measures to draw; all by default. Similarities share a panel, distances have one each.
        by: Column or columns that tell curves apart; each measure then has a panel of its own.
        note: Printed below the figure.
        title: Printed above the figure.

    Raises:
        FigureError: If no layers correspond.
    """
    frame = _corresponding(comparisons(table, rows=rows, by=by, measures=measures))
    numbers = means(frame)
    singles = _singles(frame)
    grouped = bool((numbers["series"] != "all").any())
    panels = _panels(frame, numbers, grouped=grouped)
    numbers = numbers if grouped else numbers.assign(series=numbers["quantity"])
    singles = singles if grouped else singles.assign(series=singles["quantity"])
    shown = _possible(numbers, frame)
    notes = [_spread_note(frame, numbers, shown), note, lossy_note(frame), missing_pairs_note(frame)]
    return _draw(numbers, shown, singles, panels, layer_order(frame, "source"), notes=notes, title=title)


def _corresponding(frame: pandas.DataFrame) -> pandas.DataFrame:
    import numpy

    known = frame["source_layer"].notna()
    equal = frame["source_layer"] == frame["target_layer"]
    if not equal.any() and known.any():
        source, target = (layer_order(frame, side) for side in ("source", "target"))
        places = [
            first in source and second in target and source.index(first) == target.index(second)
            for first, second in frame[["source_layer", "target_layer"]].itertuples(index=False)
        ]
        equal = known & numpy.array(places) if len(source) == len(target) else equal
    if known.any() and not equal.any():
        raise FigureError(
            "No layers of the two networks correspond: none have the same name, and the numbers of layers differ. "
            "Compare equally many layers of each, or draw layer-matrix."
        )
    return frame.loc[equal | ~known]


def _panels(frame: pandas.DataFrame, numbers: pandas.DataFrame, *, grouped: bool) -> dict[str, list[str]]:
    """Return the measures of each panel by what its axis says."""
    there = list(dict.fromkeys(numbers["quantity"]))
    if grouped:
        return {name: [name] for name in there} or {"similarity": []}
    distances = set(frame.loc[frame["kind"] == "distance", "measure"]) if "kind" in frame.columns else set()
    similar = [name for name in there if name not in distances]
    panels = {similar[0] if len(similar) == 1 else "similarity": similar} if similar or not there else {}
    return panels | {name: [name] for name in there if name in distances}


def _singles(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return the values of single pairs, where there are several but fewer than ten."""
    from weightscape.figures.numbers import THIN_LINES_BELOW

    good = frame.loc[~frame["failed"] & frame["value"].notna()]
    pair = good["first"].astype(str) + ", " + good["second"].astype(str)
    number = pair.groupby([good["measure"], good["series"]]).transform("nunique")
    few = (number > 1) & (number < THIN_LINES_BELOW)
    return good.assign(pair=pair, quantity=good["measure"])[few]


def _possible(numbers: pandas.DataFrame, frame: pandas.DataFrame) -> pandas.DataFrame:
    """Cut intervals where no value of a bundled measure can be, for drawing: similarities end at 1, distances at 0."""
    from weightscape.similarity.measure import measure_names

    kinds = dict(zip(frame["measure"], frame["kind"], strict=True)) if "kind" in frame.columns else {}
    bundled = numbers["quantity"].str.partition(" ")[0].isin(measure_names())
    kind = numbers["quantity"].map(kinds)
    high = numbers["high"].mask(bundled & (kind == "similarity"), numbers["high"].clip(upper=1.0))
    low = numbers["low"].mask(bundled & (kind == "distance"), numbers["low"].clip(lower=0.0))
    return numbers.assign(low=low, high=high)


def _draw(
    numbers: pandas.DataFrame,
    shown: pandas.DataFrame,
    singles: pandas.DataFrame,
    panels: dict[str, list[str]],
    layers: list[str],
    *,
    notes: Sequence[str],
    title: str,
) -> Chart:
    from weightscape.figures.chart import finish, new_chart
    from weightscape.figures.marks import handle

    drawn = _looks(numbers["series"])
    columns = min(len(panels), 2)
    chart, axes_of = new_chart(numbers, rows=-(-len(panels) // columns), columns=columns, row_height=2.4)
    for axes, (label, measures) in zip(axes_of, panels.items(), strict=False):
        for name, look in drawn.items():
            mine = (shown["quantity"].isin(measures)) & (shown["series"] == name)
            single = (singles["quantity"].isin(measures)) & (singles["series"] == name)
            _curve(axes, shown[mine], singles[single], layers, look)
        _axes(axes, label, layers, inches=PAPER_WIDTH / columns - 0.6)
    for axes in axes_of[len(panels) :]:
        axes.set_visible(False)
    handles = [handle(look) for look in drawn.values()]
    return finish(chart, handles if len(drawn) > 1 else [], notes=notes, title=title)


def _looks(series: pandas.Series[str]) -> dict[str, Look]:
    """Return looks whose dashes let curves be seen that lie on each other."""
    return {
        name: replace(look, dash=_DASHES[place % len(_DASHES)])
        for place, (name, look) in enumerate(looks(series).items())
    }


def _curve(axes: Axes, mean: pandas.DataFrame, singles: pandas.DataFrame, layers: list[str], look: Look) -> None:
    place = {name: position for position, name in enumerate(layers)}
    for _, rows in singles.groupby("pair", sort=False):
        rows = rows.assign(x=rows["source_layer"].map(place)).sort_values("x")
        axes.plot(rows["x"], rows["value"], color=look.colour, linewidth=0.6, alpha=0.45, zorder=2)
    mean = mean.assign(x=mean["source_layer"].map(place)).sort_values("x")
    if mean["low"].notna().any():
        axes.fill_between(mean["x"], mean["low"], mean["high"], color=look.colour, alpha=0.16, linewidth=0, zorder=1)
    style: dict[str, Any] = {"color": look.colour, "zorder": 3}
    axes.plot(mean["x"], mean["y"], linestyle=look.dash, marker=look.marker, **style)
    axes.plot(mean["x"], mean["null"], linestyle=":", linewidth=0.8, **style)


def _axes(axes: Axes, label: str, layers: list[str], *, inches: float) -> None:
    if any("." in layer for layer in layers):
        layer_ticks(axes, layers, inches=inches)
    else:
        turned = max(map(len, layers), default=0) * 0.065 > inches / max(len(layers), 1)
        axes.set_xticks(range(len(layers)), layers, rotation=90 if turned else 0)
        axes.set_xlabel("layer")
    axes.set_ylabel(label)
    low, high = axes.get_ylim()
    if low >= -0.3 and high <= 1.15:
        axes.set_ylim(min(low, 0.0), max(1.02, high))
    else:
        axes.set_ylim(bottom=min(low, 0.0))


def _spread_note(frame: pandas.DataFrame, numbers: pandas.DataFrame, shown: pandas.DataFrame) -> str:
    parts = [", ".join(part for part in (pairs_note(numbers), samples_note(frame)) if part)]
    most = int(numbers["n"].max()) if len(numbers) else 0
    banded = bool(numbers["low"].notna().any())
    if most > 1:
        parts.append("thin: single pairs" if most < 10 else "")
        parts.append("band: 95 % interval leaving out whole networks" if banded else "")
    elif banded:
        parts.append("band: 95 % interval over the samples")
    parts.append("" if shown.equals(numbers) else "bands drawn as far as values are possible")
    parts.append("dotted: shuffled pairs of samples" if numbers["null"].notna().any() else "")
    return "; ".join(part for part in parts if part)
