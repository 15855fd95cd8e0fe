"""The marks of figures over pairs of networks, and what such figures say below."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightscape.figures.numbers import THIN_LINES_BELOW
from weightscape.figures.pairs import possible
from weightscape.figures.style import Look

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


def draw_means(
    axes: Axes, numbers: pandas.DataFrame, look: Look, *, dash: Any = None, thin: bool = True, band: bool = True
) -> None:
    """Draw one series: the mean bold with its band, single pairs thin where they are few."""
    style: Any = dash if dash is not None else look.dash
    single = numbers.loc[numbers["kind"] == "pair"]
    if thin and 1 < single["run"].nunique() < THIN_LINES_BELOW:
        for _, run in single.groupby("run", sort=False):
            run = run.sort_values("x", kind="stable")
            axes.plot(run["x"], run["y"], color=look.colour, linewidth=0.6, alpha=0.45, zorder=2)
    mean = possible(numbers.loc[numbers["kind"] == "mean"]).sort_values("x", kind="stable")
    if band and mean["low"].notna().any():
        axes.fill_between(mean["x"], mean["low"], mean["high"], color=look.colour, alpha=0.16, linewidth=0, zorder=1)
    marker = look.marker if len(mean) <= 30 else ""
    axes.plot(mean["x"], mean["y"], color=look.colour, linestyle=style, marker=marker, zorder=3)


def fit_height(axes: Axes, numbers: pandas.DataFrame, *, begin: float | None = None) -> None:
    """Let the vertical axis show means, single pairs and, as far as half as much again, their intervals.

    Three networks may have intervals so wide that nothing else could be seen.

    Args:
        axes: The axes; those that share its vertical axis follow.
        numbers: What is drawn in all of them.
        begin: Where the axis begins at the latest.
    """
    values, numbers = numbers["y"].dropna(), possible(numbers)
    if values.empty:
        return
    low, high = float(values.min()), float(values.max())
    more = 0.5 * (high - low)
    if numbers["low"].notna().any():
        low, high = (
            min(low, max(float(numbers["low"].min()), low - more)),
            max(high, min(float(numbers["high"].max()), high + more)),
        )
    low, high = (low, high) if begin is None else (min(low, begin), high)
    margin = 0.05 * ((high - low) or 1.0)
    axes.set_ylim(low if low == begin else low - margin, high + margin)


def name_axis(axes: Axes, quantity: str, *, characters: int = 32) -> None:
    """Write what the vertical axis is, on several lines where it is long."""
    axes.set_ylabel("\n".join(textwrap.wrap(quantity, characters)))


def missing_pairs_note(frame: pandas.DataFrame, y: str) -> str:
    """Return for example ``Missing: task loss (bn3: 11 of 12 pairs)``, or nothing.

    Expected of a series are as many pairs as any series has, at every layer that it has itself.

    Args:
        frame: A table with ``series``, ``run``, ``layer`` and ``failed``.
        y: Column whose values are drawn.
    """
    total = max((rows.groupby(["first", "second"]).ngroups for _, rows in frame.groupby("series")), default=0)
    parts = []
    for name, rows in frame.groupby("series", sort=False):
        good = rows.loc[~rows["failed"] & rows[y].notna()] if y in rows.columns else rows.iloc[:0]
        counted = good.drop_duplicates(["layer", "first", "second"]).groupby("layer").size()
        layers = dict.fromkeys(rows.sort_values("place", kind="stable")["layer"].dropna())
        short = {layer: int(counted.get(layer, 0)) for layer in layers if counted.get(layer, 0) < total}
        if short:
            parts.append(f"{name} ({_counted(short, total, len(layers))})")
    return f"Missing: {', '.join(parts)}" if parts else ""


def _counted(short: Mapping[str, int], total: int, layers: int) -> str:
    """Return how many pairs are there, once if it is the same at all layers."""
    numbers: Sequence[int] = list(short.values())
    pairs = f"of {total} pair{'s' * (total != 1)}"
    if len(short) == layers and len(set(numbers)) == 1:
        return f"{numbers[0]} {pairs}"
    return ", ".join(f"{layer}: {number} {pairs}" for layer, number in short.items())
