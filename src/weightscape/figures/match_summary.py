"""What a matching did to each permutation group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weightscape.figures.notes import missing_note, runs_note
from weightscape.figures.numbers import THIN_LINES_BELOW, counts, curves, labelled, require, tidy
from weightscape.figures.registry import FigureError, figure
from weightscape.figures.style import INK, Look, looks

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

_MEASURES = {"moved": ("units moved (%)", 100.0), "gain": ("gain of the objective (%)", 100.0)}


@figure("match-summary")
def match_summary(table: Table, *, rows: Table | None = None, by: str | Sequence[str] = (), title: str = "") -> Chart:
    """Bars of the share of units moved and of the relative gain, one per permutation group.

    The bar is the mean over the runs, its whisker one standard deviation (n-1), dots are single runs.

    Args:
        table: One row per run and group: ``group``, ``moved`` and / or ``gain`` (shares), and the seeds of the runs.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        by: Column or columns that tell bars of one group apart (``method``).
        title: Printed above the figure.

    Raises:
        FigureError: If the table has neither ``moved`` nor ``gain``.
    """
    frame = labelled(table, by=by, rows=rows)
    require(frame, ["group"], name="table")
    measures = [measure for measure in _MEASURES if measure in frame.columns]
    if not measures:
        raise FigureError(f"The table 'table' needs the column 'moved' or 'gain'; it has: {', '.join(table.columns)}.")
    groups = [str(group) for group in dict.fromkeys(frame["group"].dropna())]
    frame = frame.assign(place=frame["group"].map({group: index for index, group in enumerate(groups)}))
    numbers = tidy(
        [
            curves(frame, x="place", y=measure, quantity=_MEASURES[measure][0], scale=_MEASURES[measure][1])
            for measure in measures
        ]
    )
    numbers.insert(5, "group", numbers["x"].map(lambda place: groups[int(place)]).astype(object))
    return _draw(frame, numbers, groups, counts(frame, y=measures[0]), title=title)


def _draw(
    frame: pandas.DataFrame,
    numbers: pandas.DataFrame,
    groups: list[str],
    number: dict[str, tuple[int, int]],
    *,
    title: str,
) -> Chart:
    from matplotlib.patches import Patch

    from weightscape.figures.chart import finish, new_chart

    drawn = looks(name for name in number if name in set(numbers["series"]))
    quantities = list(dict.fromkeys(numbers["quantity"])) or [_MEASURES["moved"][0]]
    height = max(1.0, 0.35 + len(groups) * max(0.2, 0.13 * len(drawn)))
    chart, panels = new_chart(numbers, columns=len(quantities), row_height=height, share_y=True)
    for axes, quantity in zip(panels, quantities, strict=True):
        _panel(axes, numbers.loc[numbers["quantity"] == quantity], drawn)
        axes.set_xlabel(quantity)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(groups)), groups)
    panels[0].set_ylim(len(groups) - 0.5, -0.5)  # the first group, nearest to the input, on top
    handles = [Patch(facecolor=look.colour, alpha=0.7, label=look.label) for look in drawn.values()]
    note = runs_note(frame, number).replace("thin: single", "dots: single")
    note = note.replace("bold: mean, band: ±1 SD", "bar: mean, whisker: ±1 SD")
    notes = [note, missing_note(frame, number, looks(number))]
    return finish(chart, handles if len(drawn) > 1 else [], notes=notes, title=title)


def _panel(axes: Axes, numbers: pandas.DataFrame, drawn: dict[str, Look]) -> None:
    thickness = 0.76 / max(len(drawn), 1)
    for index, (name, look) in enumerate(drawn.items()):
        rows = numbers.loc[numbers["series"] == name]
        offset = (index - (len(drawn) - 1) / 2) * thickness
        mean, single = rows.loc[rows["kind"] == "mean"], rows.loc[rows["kind"] == "run"]
        spread = {"linewidth": 0.8, "capsize": 1.5, "capthick": 0.8}
        axes.barh(
            mean["x"] + offset,
            mean["y"],
            height=thickness * 0.9,
            color=look.colour,
            alpha=0.7,
            xerr=mean["sd"] if mean["sd"].notna().any() else None,
            ecolor=INK,
            error_kw=spread,
        )
        if single["run"].nunique() < THIN_LINES_BELOW:
            axes.plot(single["y"], single["x"] + offset, ".", color=INK, markersize=2.5, alpha=0.7)
