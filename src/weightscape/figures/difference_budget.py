"""The difference of two networks at a layer: what a permutation, a rotation, an affine map and the task explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightscape.figures.layers import layer_order, layer_ticks
from weightscape.figures.notes import lossy_note
from weightscape.figures.numbers import require
from weightscape.figures.pair_marks import missing_pairs_note, name_axis
from weightscape.figures.pairs import pair_means, pairs_note, tidy_pairs
from weightscape.figures.registry import FigureError, figure
from weightscape.figures.stitch_series import MEASURES, METHODS, TASK, stitch_frame, together
from weightscape.figures.style import INK, MUTED

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

_VARIANCE = "r2"
_QUANTITIES = {_VARIANCE: "explained variance of the activation (share)", **MEASURES}
_COLOURS = ("#b8b8b8", "#CC79A7", "#009E73", "#D55E00", "#0072B2", "#8C6D1F", "#56B4E9")
REACHED = "reached with"
_LOWEST = -1.0  # of explained variance: what lies below would squeeze all the rest


@figure("difference-budget")
def difference_budget(
    table: Table,
    *,
    stitched: Table | None = None,
    rows: Table | None = None,
    steps: Sequence[str] = ("identity", "permutation", "orthogonal", "least-squares"),
    measures: Sequence[str] = ("relative_accuracy", "r2"),
    note: str = "",
    title: str = "",
) -> Chart:
    """What ever wider families of maps explain of the difference of two networks, stacked step by step, by layer.

    Every step goes from what the family before reaches to what this one reaches, as the mean over ordered pairs of
    networks, measured on test images. A family contains the one before, but is fitted to the activations of training
    images: measured by accuracy or on test images a step may lead *down*. Such a step is hatched; it is no gain. The
    task loss does not fit activations at all. The budget of variance begins at the mean activation (0 explained), so
    that an identity that does worse lies below 0.

    Args:
        table: The table ``matches`` of ``direct-matching``: ``front_layer``, ``depth``, ``method`` and the measures.
        stitched: Rows of ``stitch``, for the last step.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        steps: Methods of direct matching, from the narrowest family on.
        measures: What is divided, a panel for each: ``r2`` and measures of stitches.
        note: Printed below the figure.
        title: Printed above the figure.

    Raises:
        FigureError: If a step or a measure is missing.
    """
    require(table, ["method", *measures], name="table")
    there = set(table["method"].dropna())
    lacking = [step for step in steps if step not in there]
    if lacking:
        raise FigureError(
            f"The table 'table' has no rows of the method {lacking[0]!r}; it has: "
            f"{', '.join(sorted(map(str, there)))}. Give 'direct-matching' this method, or leave it out of the option "
            "'steps'."
        )
    frames = [stitch_frame(table, methods=steps, rows=rows)]
    order = [METHODS.get(step, step) for step in steps]
    if stitched is not None:
        frames.append(stitch_frame(stitched, name="stitched"))
        order.append(TASK)
    frame = together(frames)
    numbers = tidy_pairs([_budget(frame, order, measure) for measure in measures])
    drawn = numbers.loc[~numbers["series"].str.startswith(REACHED)]
    hatched = bool(((drawn["y"] < 0) & (drawn["series"] != order[0])).any())
    notes = [
        "Hatched: a step that leads down, no gain." if hatched else "",
        pairs_note(drawn, thin=False, band="whiskers"),
        _cut_off_note(drawn.loc[drawn["quantity"] == _QUANTITIES[_VARIANCE]], order[0]),
        "The whiskers are of a step, from pair to pair." if drawn["low"].notna().any() else "",
        *(lossy_note(frame), note, *dict.fromkeys(missing_pairs_note(frame, measure) for measure in measures)),
    ]
    return _draw(frame, numbers, order, measures, notes=notes, title=title)


def _cut_off_note(numbers: pandas.DataFrame, first: str) -> str:
    begun = numbers.loc[(numbers["series"] == first) & (numbers["kind"] == "mean"), "y"]
    return (
        f"Explained variance is cut off at {_LOWEST:g}: {first} goes to {begun.min():.2g}."
        if (begun < _LOWEST).any()
        else ""
    )


def _budget(frame: pandas.DataFrame, order: Sequence[str], measure: str) -> pandas.DataFrame:
    """Return per layer and step the change that it brings (``series``), and what is reached with it."""
    import pandas

    keys = ["first", "second", "run", "layer", "place"]
    good = frame.loc[~frame["failed"]]
    if measure not in good.columns:
        return tidy_pairs([])
    wide = good.pivot_table(index=keys, columns="series", values=measure, aggfunc="mean").reindex(columns=list(order))
    by_layer = [_steps(part) for _, part in wide.groupby("layer", sort=False)]
    if not by_layer:
        return tidy_pairs([])
    changes, reached = (pandas.concat(list(parts)) for parts in zip(*by_layer, strict=True))
    quantity = _QUANTITIES.get(measure, measure)
    parts = []
    for prefix, values in (("", changes), (f"{REACHED} ", reached)):
        long = values.reset_index().melt(id_vars=keys, var_name="series", value_name="value").dropna(subset="value")
        long = long.assign(series=prefix + long["series"], failed=False)
        means = pair_means(long, x="place", y="value", quantity=quantity)
        parts.append(means if not prefix else means.loc[means["kind"] == "mean"])
    return tidy_pairs(parts)


def _steps(wide: pandas.DataFrame) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Return what the steps of one layer bring and what they reach, for each pair that has every step."""
    reached = wide.dropna(how="all", axis="columns").dropna()
    changes = reached.diff(axis="columns")
    changes.iloc[:, 0] = reached.iloc[:, 0]
    return changes, reached


def _draw(
    frame: pandas.DataFrame,
    numbers: pandas.DataFrame,
    order: Sequence[str],
    measures: Sequence[str],
    *,
    notes: Sequence[str],
    title: str,
) -> Chart:
    from matplotlib.patches import Patch

    from weightscape.figures.chart import finish, new_chart

    means = numbers.loc[numbers["kind"] == "mean"]
    colours = dict(zip(order, _COLOURS, strict=False))
    chart, panels = new_chart(numbers, rows=len(measures), row_height=2.1)
    layers = layer_order(frame)
    for axes, measure in zip(panels, measures, strict=True):
        quantity = _QUANTITIES.get(measure, measure)
        _panel(axes, means.loc[means["quantity"] == quantity], colours)
        layer_ticks(axes, layers, inches=4.8)
        axes.set_xlim(-0.5, len(layers) - 0.5)
        reached = means.loc[(means["quantity"] == quantity) & means["series"].str.startswith(REACHED), "y"]
        low, high = (float(reached.min()), float(reached.max())) if len(reached) else (0.0, 1.0)
        low = min(0.0, max(low, _LOWEST) if measure == _VARIANCE else low)
        axes.set_ylim(1.05 * low, max(high, 1.0) + 0.12 * (max(high, 1.0) - low))
        name_axis(axes, quantity, characters=30)
        axes.grid(visible=False, axis="x")
        axes.axhline(1.0, color=MUTED, linewidth=0.6, zorder=0.5)
        axes.axhline(0.0, color=MUTED, linewidth=0.8, zorder=0.5)
    for axes in panels[:-1]:
        axes.set_xlabel("")
    names = [name if not place else f"+ {name}" for place, name in enumerate(order)]
    handles = [Patch(facecolor=colours[name], label=label) for name, label in zip(order, names, strict=True)]
    return finish(chart, handles, notes=notes, title=title)


def _panel(axes: Axes, means: pandas.DataFrame, colours: Mapping[str, str]) -> None:
    present = [name for name in colours if name in set(means["series"])]
    thickness = 0.84 / max(len(present), 1)
    for place, name in enumerate(present):
        change = means.loc[means["series"] == name].set_index("x").sort_index()
        reached = means.loc[means["series"] == f"{REACHED} {name}"].set_index("x")["y"].reindex(change.index)
        x = change.index.to_numpy() + (place - (len(present) - 1) / 2) * thickness
        start = reached - change["y"]
        down = (change["y"] < 0) & (place > 0)
        style: dict[str, Any] = {"width": thickness, "zorder": 2}
        for part, more in ((~down, {"color": colours[name]}), (down, _hatched(colours[name]))):
            axes.bar(x[part.to_numpy()], change["y"][part], bottom=start[part], **style, **more)
        for left, level in zip(x, reached, strict=True):  # the level is carried to the next step
            ends = [left - thickness / 2, left + thickness * (1.5 if place + 1 < len(present) else 0.5)]
            axes.plot(ends, [level, level], color=INK, linewidth=0.5, zorder=3)
        if place and change["low"].notna().any():
            spread = [change["y"] - change["low"], change["high"] - change["y"]]
            bars: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 0.6, "capsize": 1.0, "zorder": 4}
            axes.errorbar(x, reached, yerr=spread, **bars)


def _hatched(colour: str) -> dict[str, Any]:
    return {"facecolor": "white", "edgecolor": colour, "hatch": "//////", "linewidth": 0.6}
