"""Loss and accuracy along training (and after a transfer: figure 6 of arXiv 2305.14122)."""

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
STANDARD = "standard training"
_QUANTITIES = {"loss": ("loss (nats)", 1.0), "accuracy": ("accuracy (%)", 100.0)}


@figure("learning-curve")
def learning_curve(
    table: Table,
    *,
    reference: Table | None = None,
    rows: Table | None = None,
    by: str | Sequence[str] | None = None,
    splits: Sequence[Split] | None = None,
    start: Literal[0, 1] = 1,
    loss_scale: Literal["linear", "log"] = "linear",
    title: str = "",
) -> Chart:
    """Loss and accuracy at every epoch, on each split: every seed, the mean, and one standard deviation.

    Args:
        table: One row per run and epoch: ``epoch``, any of ``train_loss``, ``train_accuracy``, ``validation_loss`` and
            so on, and the seeds of the runs.
        reference: The same of standard training: its mean is drawn dashed.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        by: Column or columns that tell the curves apart: colours show them, dashes the splits. ``method`` or
            ``start.method`` when left out, if the table has it.
        splits: The splits drawn; those in the table when left out, or validation alone where curves are told apart.
        start: First epoch drawn; 0 is before training.
        loss_scale: Scale of the loss.
        title: Printed above the figure.

    Raises:
        FigureError: If the table has no loss or accuracy of the splits.
    """
    frame = labelled(table, by=by, rows=rows)
    require(frame, ["epoch"], name="table")
    frame = frame.loc[frame["failed"] | (frame["epoch"] >= start)]
    grouped = set(frame["series"]) != {"all"}
    wanted = splits or (SPLITS if not grouped or "validation_loss" not in frame else ("validation",))
    measured = [f"{split}_{measure}" for split in wanted for measure in _QUANTITIES]
    measured = [column for column in measured if column in frame.columns]
    if not measured:
        have = ", ".join(map(str, table.columns))
        raise FigureError(f"The table 'table' needs a column like '{wanted[0]}_loss'; it has: {have}.")
    numbers = _numbers(frame, wanted, grouped=grouped)
    if reference is not None:
        numbers = tidy([numbers, _standard(reference, wanted, frame["epoch"])])
    number = counts(frame.assign(value=frame[measured].notna().any(axis=1).map({True: 1.0})), y="value")
    return _draw(frame, numbers, number, loss_scale=loss_scale, title=title)


def _numbers(frame: pandas.DataFrame, splits: Sequence[str], *, grouped: bool) -> pandas.DataFrame:
    """Return the curves; series are named ``gmt, validation``, less what all of them share."""
    parts = []
    for measure, (name, scale) in _QUANTITIES.items():
        for split in splits:
            if f"{split}_{measure}" in frame.columns:
                quantity = f"{split} {name}" if len(splits) == 1 else name
                rows = curves(frame, x="epoch", y=f"{split}_{measure}", quantity=quantity, scale=scale)
                own = rows["series"] if len(splits) == 1 else rows["series"] + f", {split}"
                parts.append(rows.assign(series=own if grouped else split))
    numbers = tidy(parts)
    return numbers.sort_values("series", kind="stable", ignore_index=True) if grouped else numbers


def _standard(table: Table, splits: Sequence[str], epochs: pandas.Series[float]) -> pandas.DataFrame:
    require(table, ["epoch"], name="reference")
    frame = labelled(table, by=[], name="reference").assign(series=STANDARD)
    numbers = _numbers(frame.loc[frame["epoch"].between(epochs.min(), epochs.max())], splits, grouped=True)
    return numbers.loc[numbers["kind"] == "mean"].assign(kind="reference")


def _looks(numbers: pandas.DataFrame) -> dict[str, Look]:
    """Return the look of every series: of the splits alone, or the colour of the group and the dash of the split."""
    names = list(dict.fromkeys(numbers["series"]))
    parts = {name: name.rpartition(", ") for name in names}
    if not all(group and split in SPLITS for group, _, split in parts.values()):
        return looks(names)
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
    loss_scale: Literal["linear", "log"],
    title: str,
) -> Chart:
    from weightscape.figures.chart import finish, new_chart
    from weightscape.figures.marks import handle

    drawn = _looks(numbers)
    quantities = list(dict.fromkeys(numbers["quantity"])) or [_QUANTITIES["loss"][0]]
    chart, panels = new_chart(numbers, columns=len(quantities), row_height=2.2)
    for axes, quantity in zip(panels, quantities, strict=True):
        _panel(axes, numbers.loc[numbers["quantity"] == quantity], drawn, quantity)
        if "loss" in quantity:
            axes.set_yscale(loss_scale)
    notes = [runs_note(frame, number), _ends_note(frame), missing_note(frame, number, looks(number))]
    return finish(chart, [handle(look) for look in drawn.values()], notes=notes, title=title)


def _ends_note(frame: pandas.DataFrame) -> str:
    """Say that a mean is of fewer runs where some have stopped early, which are not a random choice."""
    ends = frame.loc[~frame["failed"]].groupby(["series", "run"])["epoch"].max().groupby("series").nunique()
    return "Runs end at different epochs: the mean is of those that go on" if (ends > 1).any() else ""


def _panel(axes: Axes, numbers: pandas.DataFrame, drawn: dict[str, Look], quantity: str) -> None:
    from weightscape.figures.chart import integer_ticks
    from weightscape.figures.marks import draw_curve

    for name, look in drawn.items():
        rows = numbers.loc[numbers["series"] == name]
        standard = rows["kind"] == "reference"
        draw_curve(axes, rows.assign(kind=rows["kind"].mask(standard, "mean")), look, band=not standard.any())
    axes.set_xlabel("epoch")
    axes.set_ylabel(quantity)
    integer_ticks(axes)
