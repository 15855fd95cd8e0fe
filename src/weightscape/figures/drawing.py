"""Draw a figure by name and write it: vector PDF, PNG and the CSV of the numbers drawn, byte-equal for equal tables."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from weightscape.figures.registry import FigureError, find
from weightscape.figures.style import house_style

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Format = Literal["pdf", "png", "svg"]

# None removes what matplotlib would put in: the time and its own version.
_METADATA: dict[Format, dict[str, str | None]] = {
    "pdf": {"Creator": "weightscape", "Producer": None, "CreationDate": None},
    "png": {"Software": None},
    "svg": {"Creator": None, "Date": None, "Format": None, "Type": None},
}


@dataclass(frozen=True)
class DrawnFigure:
    """A figure and the numbers in it.

    Attributes:
        name: The figure's name or dotted path.
        figure: The matplotlib figure.
        numbers: Exactly the numbers drawn.
    """

    name: str
    figure: Figure
    numbers: pandas.DataFrame

    def to_frame(self) -> pandas.DataFrame:
        """Return the numbers drawn."""
        return self.numbers

    def csv(self) -> bytes:
        """Return the numbers drawn as CSV; floats are written so that they are read back exactly."""
        return self.numbers.to_csv(index=False, lineterminator="\n").encode()

    def image(self, format: Format) -> bytes:
        """Return the figure as a file of that format: PDF and SVG are vector graphics, PNG has 200 dots per inch."""
        buffer = io.BytesIO()
        with house_style():
            self.figure.savefig(buffer, format=format, metadata=_METADATA[format])
        return buffer.getvalue()


@dataclass(frozen=True)
class SavedFigure:
    """The three files of a figure."""

    pdf: Path
    png: Path
    csv: Path


def draw(name: str, tables: Mapping[str, pandas.DataFrame], options: Mapping[str, Any] | None = None) -> DrawnFigure:
    """Draw a figure from tables.

    Args:
        name: A registered name (``transfer-curve``) or the dotted path of a function of your own, which takes tables
            and returns a matplotlib figure or axes.
        tables: Tables by parameter name; they are not changed.
        options: The figure's options by name.

    Raises:
        SpecificationError: If a table or an option is unknown, missing or of a wrong type.
        FigureError: If the figure is unknown, a table lacks a column, or the function returns something else.
    """
    entry = find(name)
    values = entry.bind(tables, options or {})
    with house_style():
        drawn = entry.function(**{key: table.copy(deep=False) for key, table in tables.items()}, **values)
    figure = _figure_of(drawn, name)
    numbers = getattr(figure, "numbers", None)
    return DrawnFigure(name, figure, numbers if numbers is not None else _read_back(figure))


def save(drawn: DrawnFigure, folder: str | Path, stem: str) -> SavedFigure:
    """Write ``STEM.pdf``, ``STEM.png`` and ``STEM.csv`` into the folder, which is created."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    saved = SavedFigure(folder / f"{stem}.pdf", folder / f"{stem}.png", folder / f"{stem}.csv")
    saved.pdf.write_bytes(drawn.image("pdf"))
    saved.png.write_bytes(drawn.image("png"))
    saved.csv.write_bytes(drawn.csv())
    return saved


def _figure_of(drawn: Any, name: str) -> Figure:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    figure = drawn.get_figure(root=True) if isinstance(drawn, Axes) else drawn
    if not isinstance(figure, Figure):
        raise FigureError(f"The figure {name!r} must return a matplotlib Figure or Axes, it returned {type(drawn)}.")
    return figure


def _read_back(figure: Figure) -> pandas.DataFrame:
    """Read lines, points and bars from a figure that keeps no table of its numbers."""
    import pandas

    rows = [
        {"panel": panel, "series": "" if label.startswith("_") else label, "kind": kind, "x": x, "y": y}
        for panel, axes in enumerate(figure.axes)
        for label, kind, points in _artists(axes)
        for x, y in points
    ]
    return pandas.DataFrame(rows, columns=["panel", "series", "kind", "x", "y"])


def _artists(axes: Axes) -> list[tuple[str, str, list[tuple[Any, Any]]]]:
    import numpy
    from matplotlib.collections import PathCollection
    from matplotlib.container import BarContainer

    found: list[tuple[str, str, list[tuple[Any, Any]]]] = [
        (str(line.get_label()), "line", list(zip(line.get_xdata(), line.get_ydata(), strict=True)))  # type: ignore[arg-type]
        for line in axes.get_lines()
    ]
    for points in axes.collections:
        if isinstance(points, PathCollection):
            offsets = [tuple(point) for point in numpy.asarray(points.get_offsets(), dtype=float).tolist()]
            found.append((str(points.get_label()), "points", offsets))
    for bars in axes.containers:
        if isinstance(bars, BarContainer):
            corners = [(bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height()) for bar in bars]
            found.append((str(bars.get_label()), "bars", corners))
    return found
