"""The one look of all figures: sizes, fonts, colours and the marks of the methods. Loads no matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

PAPER_WIDTH = 5.5
"""Width of the text of an ICLR or NeurIPS page, in inches."""

FONT_SIZE = 8.0
SMALL = 6.5
INK = "#333333"
MUTED = "#6b6b6b"
GRID = "#e3e3e3"

RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so that files are equal on every machine
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": FONT_SIZE - 1,
    "ytick.labelsize": FONT_SIZE - 1,
    "legend.fontsize": FONT_SIZE - 0.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.6,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "weightscape",
}

DashPattern = str | tuple[float, tuple[float, ...]]


@dataclass(frozen=True)
class Look:
    """How one series is drawn."""

    label: str
    colour: str
    marker: str
    dash: DashPattern = "-"


_KNOWN = {
    "gmt": Look("GMT", "#0072B2", "o"),
    "fgmt": Look("FGMT", "#009E73", "s", (0, (4, 2))),  # GMT, which it often covers, shows in the gaps
    "oracle": Look("oracle", "#B2182B", "D", (0, (6, 1.5, 1, 1.5))),
    "naive": Look("naive", "#E69F00", "^"),
    "permuted source": Look("permuted source", "#7a7a7a", "x", (0, (3, 1.5))),
    "standard training": Look("standard training", "#1B2A5B", "", (0, (4, 1.5))),
    "train": Look("train", "#7a7a7a", ".", (0, (3, 1.5))),
    "validation": Look("validation", "#0072B2", "o"),
    "test": Look("test", "#B2182B", "s", (0, (6, 1.5, 1, 1.5))),
    "all": Look("mean", "#0072B2", "o"),
}
# Okabe and Ito's colours without those of the methods, then markers to tell repeated colours apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#8C6D1F", "#000000")
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")


def looks(series: Iterable[str]) -> dict[str, Look]:
    """Return the look of every series, in the order of drawing: the known ones first, in the papers' colours.

    >>> [look.label for look in looks(["naive", "mine", "gmt"]).values()]
    ['GMT', 'naive', 'mine']
    """
    names = list(dict.fromkeys(series))
    known = [name for name in _KNOWN if name in names]
    used = {_KNOWN[name].colour for name in known}
    free = [colour for colour in _COLOURS if colour not in used] or list(_COLOURS)
    chosen = {name: _KNOWN[name] for name in known}
    for index, name in enumerate(name for name in names if name not in _KNOWN):
        chosen[name] = Look(name, free[index % len(free)], _MARKERS[index % len(_MARKERS)])
    return chosen


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house style whatever the user's matplotlib settings are, and restore those afterwards."""
    import matplotlib

    settings: Any = RC  # matplotlib types its keys as literals
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield
