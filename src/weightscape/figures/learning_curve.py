"""Loss and accuracy along training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from weightscape.figures.notes import missing_note, runs_note
from weightscape.figures.numbers import counts, curves, labelled, require, tidy
from weightscape.figures.registry import FigureError, figure
from weightscape.figures.style import Look, looks

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_QUANTITIES = {"loss": ("loss (nats)", 1.0), "accuracy": ("accuracy (%)", 100.0)}


@figure("learning-curve")
def learning_curve(
    table: Table,
    *,
    rows: Table | None = None,
    by: str | Sequence[str] = (),
    splits: Sequence[Split] | None = None,
    start: Literal[0, 1] = 1,
    loss_scale: Literal["linear", "log"] = "linear",
    title: str = "",
) -> Chart:
    """Loss and accuracy at every epoch, on each split: every seed, the mean, and one standard deviation.

    Args:
        table: One row per run and epoch: ``epoch``, any of ``train_loss``, ``train_accuracy``, ``validation_loss`` and
            so on, and the seeds of the runs.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        by: Column or columns that tell the curves apart; then colours show them and dashes the splits.
        splits: The splits drawn; those in the table when left out.
        start: First epoch drawn; 0 is before training.
        loss_scale: Scale of the loss.
        title: Printed above the figure.

    Raises:
        FigureError: If the table has no loss or accuracy of the splits.
    """
    grouped = bool(by)
    frame = labelled(table, by=by, rows=rows)
    require(frame, ["epoch"], name="table")
    frame = frame.loc[frame["failed"] | (frame["epoch"] >= start)]
    wanted = tuple(splits or SPLITS)
    present = {f"{split}_{measure}" for split in wanted for measure in _QUANTITIES} & set(frame.columns)
    if not present:
        raise FigureError(
            f"The table 'table' needs a column like '{wanted[0]}_loss' or '{wanted[0]}_accuracy'; "
            f"it has: {', '.join(map(str, table.columns))}."
        )
    numbers = tidy(
        [
            _curve(frame, split, measure, grouped=grouped)
            for measure in _QUANTITIES
            for split in wanted
            if f"{split}_{measure}" in present
        ]
    )
    if grouped:
        numbers = numbers.sort_values("series", kind="stable", ignore_index=True)
    number = counts(frame.assign(value=frame[sorted(present)].notna().any(axis=1).map({True: 1.0})), y="value")
    return _draw(frame, numbers, number, grouped=grouped, loss_scale=loss_scale, title=title)


def _curve(frame: pandas.DataFrame, split: str, measure: str, *, grouped: bool) -> pandas.DataFrame:
    name, scale = _QUANTITIES[measure]
    rows = curves(frame, x="epoch", y=f"{split}_{measure}", quantity=name, scale=scale)
    return rows.assign(series=rows["series"] + f", {split}" if grouped else split)


def _looks(numbers: pandas.DataFrame, *, grouped: bool) -> dict[str, Look]:
    if not grouped:
        return looks(numbers["series"])
    parts = {name: name.rpartition(", ") for name in dict.fromkeys(numbers["series"])}
    groups, splits = looks(group for group, _, _ in parts.values()), looks(SPLITS)
    return {
        name: Look(f"{groups[group].label}, {split}", groups[group].colour, splits[split].marker, splits[split].dash)
        for name, (group, _, split) in parts.items()
    }


def _draw(
    frame: pandas.DataFrame,
    numbers: pandas.DataFrame,
    number: dict[str, tuple[int, int]],
    *,
    grouped: bool,
    loss_scale: Literal["linear", "log"],
    title: str,
) -> Chart:
    from weightscape.figures.chart import finish, new_chart
    from weightscape.figures.marks import handle

    drawn = _looks(numbers, grouped=grouped)
    quantities = list(dict.fromkeys(numbers["quantity"])) or [_QUANTITIES["loss"][0]]
    chart, panels = new_chart(numbers, columns=len(quantities), row_height=2.2)
    for axes, quantity in zip(panels, quantities, strict=True):
        _panel(axes, numbers.loc[numbers["quantity"] == quantity], drawn, quantity)
        if quantity == _QUANTITIES["loss"][0]:
            axes.set_yscale(loss_scale)
    notes = [runs_note(frame, number), missing_note(frame, number, looks(number))]
    return finish(chart, [handle(look) for look in drawn.values()], notes=notes, title=title)


def _panel(axes: Axes, numbers: pandas.DataFrame, drawn: dict[str, Look], quantity: str) -> None:
    from weightscape.figures.chart import integer_ticks
    from weightscape.figures.marks import draw_curve

    for name, look in drawn.items():
        draw_curve(axes, numbers.loc[numbers["series"] == name], look)
    axes.set_xlabel("epoch")
    axes.set_ylabel(quantity)
    integer_ticks(axes)
