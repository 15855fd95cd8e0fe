"""A matplotlib figure that knows the numbers drawn in it, with the frame that all figures share."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from weightscape.figures.style import MUTED, PAPER_WIDTH, SMALL

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

_NOTE_CHARACTERS = 120  # of the small font, across the paper's width


class Chart(Figure):
    """A figure with the table behind it; no pyplot, so that nothing global remembers it.

    Attributes:
        numbers: The numbers drawn, with the columns of :mod:`weightscape.figures.numbers`.
    """

    def __init__(self, numbers: pandas.DataFrame, *, size: tuple[float, float]) -> None:
        super().__init__(figsize=size, layout="constrained")
        FigureCanvasAgg(self)
        self.numbers = numbers


def new_chart(
    numbers: pandas.DataFrame,
    *,
    rows: int = 1,
    columns: int = 1,
    row_height: float = 2.6,
    share_y: bool = False,
) -> tuple[Chart, list[Axes]]:
    """Return an empty chart as wide as a page, and its axes row by row."""
    chart = Chart(numbers, size=(PAPER_WIDTH, row_height * rows + 0.65))
    axes = chart.subplots(rows, columns, squeeze=False, sharey=share_y)
    return chart, [axis for row in axes for axis in row]


def finish(chart: Chart, handles: Sequence[Any], *, notes: Sequence[str], title: str = "") -> Chart:
    """Put the legend above the panels, where it covers no data, and the notes below them."""
    if title:
        chart.suptitle(title, fontsize=9)
    if handles:
        columns = len(handles) if len(handles) <= 6 else -(-len(handles) // 2)
        chart.legend(
            handles=list(handles),
            loc="outside upper center",
            ncols=min(columns, 6),
            columnspacing=1.4,
            handlelength=2.4,
            handletextpad=0.5,
        )
    text = "\n".join(line for note in notes if note for line in textwrap.wrap(note, _NOTE_CHARACTERS))
    if text:
        chart.supxlabel(text, fontsize=SMALL, color=MUTED, x=0.01, ha="left", linespacing=1.35)
    return chart


def integer_ticks(axes: Axes) -> None:
    """Let the horizontal axis count: epochs and steps have no halves."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
