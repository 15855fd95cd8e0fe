"""A matplotlib figure that knows the numbers drawn in it, with the frame that all figures share."""

from __future__ import annotations

import io
import itertools
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from weightscape.figures.style import MUTED, PAPER_WIDTH, SMALL

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

_SCREEN_DPI = 120
_LEGEND_MARK, _LEGEND_CHARACTER = 32.0, 4.5  # points: the mark with its gaps, and one character
_NOTE_CHARACTERS = 106  # of the small font, across the paper's width


class Chart(Figure):
    """A figure with the table behind it; no pyplot, so that nothing global remembers it.

    Attributes:
        numbers: The numbers drawn, with the columns of :mod:`weightscape.figures.numbers`.
    """

    def __init__(self, numbers: pandas.DataFrame, *, size: tuple[float, float]) -> None:
        super().__init__(figsize=size, layout="constrained")
        FigureCanvasAgg(self)
        self.numbers = numbers

    def _repr_png_(self) -> bytes:
        """Let a notebook show the figure, which pyplot does not know."""
        from weightscape.figures.style import house_style

        buffer = io.BytesIO()
        with house_style():
            self.savefig(buffer, format="png", dpi=_SCREEN_DPI)
        return buffer.getvalue()


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
    if title and not handles:
        chart.suptitle(title, fontsize=9)
    if handles:
        chart.legend(
            title=title or None,  # a title of the figure itself would cover the legend
            title_fontsize=9,
            handles=list(handles),
            loc="outside upper center",
            ncols=legend_columns([handle.get_label() for handle in handles]),
            columnspacing=1.4,
            handlelength=2.4,
            handletextpad=0.5,
        )
    text = "\n".join(line for note in notes if note for line in textwrap.wrap(note, _NOTE_CHARACTERS))
    if text:
        chart.supxlabel(text, fontsize=SMALL, color=MUTED, x=0.01, ha="left", linespacing=1.35)
    return chart


def legend_columns(labels: Sequence[str]) -> int:
    """Return the most columns of a legend, filled from top to bottom, that fit the width of the page.

    >>> legend_columns(["GMT", "FGMT", "oracle"]), legend_columns(["a rather long description"] * 4)
    (3, 2)
    """
    widths = [_LEGEND_MARK + _LEGEND_CHARACTER * len(label) for label in labels]
    for columns in range(len(labels), 1, -1):
        short, longer = divmod(len(labels), columns)  # the first columns take what is left over
        ends = [place * short + min(place, longer) for place in range(columns + 1)]
        used = sum(max(widths[start:end]) for start, end in itertools.pairwise(ends))
        if used <= 72 * PAPER_WIDTH:
            return columns
    return 1


def integer_ticks(axes: Axes) -> None:
    """Let the horizontal axis count: epochs and steps have no halves."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
