"""The matrix of one stitch as an image: before training, after it, and what changed; and its singular values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weightscape.figures.notes import lossy_note
from weightscape.figures.numbers import require
from weightscape.figures.registry import FigureError, figure
from weightscape.figures.style import looks

if TYPE_CHECKING:
    import numpy
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

_COLOURS = "RdBu_r"
_STAGES = {"initial": "before training", "final": "after training"}
_DIFFERENCE = "difference"
_RANGE = 50.0
"""Largest over smallest singular value from which their axis is logarithmic."""


@figure("stitch-map")
def stitch_map(
    table: Table,
    *,
    singular_values: Table | None = None,
    rows: Table | None = None,
    note: str = "",
    title: str = "",
) -> Chart:
    """The matrix of a stitch before training, after it, and the difference, as images; and its singular values.

    Rows are channels of the back network, columns channels of the front network. Red is positive, blue negative, white
    zero. Before and after share their colours; the difference has its own.

    Args:
        table: The table ``matrix`` of one stitch: ``stage`` (initial or final), ``row``, ``column``, ``value``.
        singular_values: The table of that name: ``stage``, ``index``, ``value``.
        rows: The table of the stage itself, which says whether the images are a lossy copy.
        note: Printed below the figure.
        title: Printed above the figure.

    Raises:
        FigureError: If the table has no matrix, or those of several stitches.
    """
    require(table, ["stage", "row", "column", "value"], name="table")
    _check_alone(table)
    matrices = {stage: _matrix(table, stage) for stage in _STAGES if (table["stage"] == stage).any()}
    if not matrices:
        raise FigureError("The table 'table' has no matrix: those of flat stitches are too large for a table.")
    if len(matrices) == len(_STAGES):
        matrices[_DIFFERENCE] = matrices["final"] - matrices["initial"]
    values = _values(singular_values)
    height, width = next(iter(matrices.values())).shape
    size = f"{height} x {width}: a row for each channel of the back network, a column for each of the front network."
    lossy = lossy_note(table if rows is None else rows)
    return _draw(matrices, values, notes=[size, _changed(matrices), lossy, note], title=title)


def _check_alone(table: Table) -> None:
    """Refuse the matrices of several stitches.

    Raises:
        FigureError: If there are several.
    """
    number = table["key"].nunique() if "key" in table.columns else 1
    if number > 1 or table.duplicated(["stage", "row", "column"]).any():
        raise FigureError(
            "The figure shows one stitch, the table has more. Choose one by its settings: "
            "from: \"stitched.matrix?front_layer = 'bn3' and seed = 0\"."
        )


def _matrix(table: Table, stage: str) -> numpy.ndarray:
    import numpy

    rows = table.loc[table["stage"] == stage]
    found = numpy.zeros((int(rows["row"].max()) + 1, int(rows["column"].max()) + 1))
    found[rows["row"], rows["column"]] = rows["value"]
    return found


def _values(table: Table | None) -> dict[str, numpy.ndarray]:
    if table is None or not len(table):
        return {}
    ordered = table.sort_values("index")
    return {
        stage: ordered.loc[ordered["stage"] == stage, "value"].to_numpy()
        for stage in _STAGES
        if (ordered["stage"] == stage).any()
    }


def _changed(matrices: dict[str, numpy.ndarray]) -> str:
    """Return how far training moved the matrix, relative to where it began."""
    import numpy

    begun = numpy.linalg.norm(matrices["initial"]) if "initial" in matrices else 0.0
    if _DIFFERENCE not in matrices or not begun:
        return ""
    return f"Training changed it by {100 * numpy.linalg.norm(matrices[_DIFFERENCE]) / begun:.3g} % (Frobenius norm)."


def _draw(
    matrices: dict[str, numpy.ndarray], values: dict[str, numpy.ndarray], *, notes: list[str], title: str
) -> Chart:
    from weightscape.figures.chart import finish, new_chart

    panels = len(matrices) + bool(values)
    columns = min(panels, 2)
    number = -(-panels // columns)
    chart, axes = new_chart(_numbers(matrices, values), rows=number, columns=columns, row_height=2.35)
    for place, (stage, matrix) in zip(axes, matrices.items(), strict=False):
        alike = [matrix] if stage == _DIFFERENCE else [other for name, other in matrices.items() if name != _DIFFERENCE]
        _show(place, matrix, limit=max(float(abs(other).max()) for other in alike))
        place.set_title(_STAGES.get(stage, "difference (after - before)"))
    if values:
        _plot(axes[len(matrices)], values)
    for place in axes[panels:]:
        place.set_visible(False)
    return finish(chart, [], notes=notes, title=title)


def _show(axes: Axes, matrix: numpy.ndarray, *, limit: float) -> None:
    limit = limit or 1.0  # nothing but zeros
    image = axes.imshow(matrix, cmap=_COLOURS, vmin=-limit, vmax=limit, interpolation="nearest", aspect="equal")
    axes.grid(visible=False)
    axes.tick_params(length=2)
    _count(axes)
    axes.set_xlabel("front channel")
    axes.set_ylabel("back channel")
    chart = axes.get_figure(root=True)
    assert chart is not None
    bar = chart.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2)


def _count(axes: Axes) -> None:
    """Let both axes count: there is no channel 0.5."""
    from matplotlib.ticker import MaxNLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))


def _plot(axes: Axes, values: dict[str, numpy.ndarray]) -> None:
    from weightscape.figures.chart import integer_ticks

    drawn = looks([_STAGES[stage] for stage in values])
    for stage, found in values.items():
        look = drawn[_STAGES[stage]]
        style: dict[str, Any] = {"color": look.colour, "marker": look.marker if len(found) <= 40 else ""}
        hollow: dict[str, Any] = {"markerfacecolor": "white"} if stage == "initial" else {}
        axes.plot(range(len(found)), found, label=look.label, **style, **hollow)
    every = [value for found in values.values() for value in found]
    if min(every) > 0 and max(every) > _RANGE * min(every):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_title("singular values")
    axes.set_xlabel("index")
    integer_ticks(axes)
    axes.legend(loc="upper right")


def _numbers(matrices: dict[str, numpy.ndarray], values: dict[str, numpy.ndarray]) -> pandas.DataFrame:
    import numpy
    import pandas

    parts = []
    for stage, matrix in matrices.items():
        rows, columns = numpy.indices(matrix.shape).reshape(2, -1)
        parts.append(pandas.DataFrame({"panel": stage, "row": rows, "column": columns, "value": matrix.ravel()}))
    for stage, found in values.items():
        parts.append(pandas.DataFrame({"panel": f"singular values, {stage}", "row": range(len(found)), "value": found}))
    return pandas.concat(parts, ignore_index=True).astype({"column": "Int64"})
