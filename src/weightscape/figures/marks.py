"""The marks that figures are made of: a mean with its band and single runs, published points, lines across."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from weightscape.figures.labels import spread
from weightscape.figures.style import MUTED, SMALL, Look

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform


def draw_curve(axes: Axes, rows: pandas.DataFrame, look: Look, *, band: bool = True) -> None:
    """Draw one series: single runs thin, the mean bold with dots, a band of one standard deviation to each side."""
    for _, run in rows.loc[rows["kind"] == "run"].groupby("run", sort=False):
        axes.plot(run["x"], run["y"], color=look.colour, linewidth=0.6, alpha=0.55, zorder=2)
    mean = rows.loc[rows["kind"] == "mean"]
    if band and mean["sd"].notna().any():
        low, high = mean["y"] - mean["sd"], mean["y"] + mean["sd"]
        axes.fill_between(mean["x"], low, high, color=look.colour, alpha=0.16, linewidth=0, zorder=1)
    marker = look.marker if len(mean) <= 30 else ""
    axes.plot(mean["x"], mean["y"], color=look.colour, linestyle=look.dash, marker=marker, zorder=3)


def draw_published(axes: Axes, rows: pandas.DataFrame, looks: Mapping[str, Look]) -> None:
    """Draw published means as open markers with bars of one standard deviation.

    Each method is moved sideways by a few points of the page, so that equal values do not hide each other.
    """
    present = [name for name in looks if name in set(rows["series"])]
    for place, name in enumerate(present):
        curve, look = rows.loc[rows["series"] == name], looks[name]
        shift = 4.5 + 3.2 * place
        axes.errorbar(
            curve["x"],
            curve["y"],
            yerr=curve["sd"].fillna(0.0),
            transform=_moved(axes, shift),
            fmt=look.marker,
            color=look.colour,
            markerfacecolor="white",
            markersize=3.4,
            markeredgewidth=0.8,
            elinewidth=0.7,
            capsize=1.2,
            capthick=0.6,
            zorder=4,
        )
        axes.update_datalim(list(zip(curve["x"], curve["y"], strict=True)))
    axes.autoscale_view()


def draw_published_levels(axes: Axes, rows: pandas.DataFrame) -> None:
    """Draw published horizontal lines as small open marks on the right edge, where one's own lines end."""
    style: dict[str, Any] = {"color": MUTED, "markerfacecolor": "white", "markersize": 3.6, "markeredgewidth": 0.8}
    for level in rows["y"]:
        axes.plot([1.0], [level], "<", transform=axes.get_yaxis_transform(), clip_on=False, zorder=5, **style)


def _moved(axes: Axes, points: float) -> Transform:
    figure = axes.get_figure()
    assert figure is not None
    return axes.transData + ScaledTranslation(points / 72, 0, figure.dpi_scale_trans)


def draw_levels(axes: Axes, rows: pandas.DataFrame, *, dash: str = ":", labels: bool = True) -> None:
    """Draw horizontal lines, and their names in the margin on the right, moved apart where they would overlap."""
    rows = rows.sort_values("y", kind="stable")
    for level in rows["y"]:
        axes.axhline(level, color=MUTED, linestyle=dash, linewidth=0.9, zorder=1.5)
    if not labels or rows.empty:
        return
    bottom, top = axes.get_ylim()
    position = axes.get_position()
    height = position.height * axes.get_figure(root=True).get_figheight()  # type: ignore[union-attr]
    places = spread([(level - bottom) / (top - bottom) for level in rows["y"]], gap=SMALL * 1.3 / 72 / height)
    for name, level, place in zip(rows["series"], rows["y"], places, strict=True):
        axes.annotate(
            f"{name}  {level:.1f}",
            xy=(1.0, (level - bottom) / (top - bottom)),
            xytext=(1.035, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=SMALL,
            color=MUTED,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 0.5, "shrinkB": 0},
        )


def handle(look: Look, *, label: str | None = None, **changes: Any) -> Line2D:
    """Return the legend's mark of a series."""
    style: dict[str, Any] = {"color": look.colour, "linestyle": look.dash, "marker": look.marker}
    return Line2D([], [], label=label or look.label, **(style | changes))


def published_handle(label: str) -> Line2D:
    """Return the legend's mark of published points."""
    return Line2D(
        [], [], color=MUTED, linestyle="", marker="o", markerfacecolor="white", markeredgewidth=0.8, label=label
    )
