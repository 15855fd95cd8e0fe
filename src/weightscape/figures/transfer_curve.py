"""Accuracy along a transferred trajectory (figure 5 of arXiv 2305.14122)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from weightscape.figures.literature import Published, load_published
from weightscape.figures.notes import missing_note, present_and_missing, runs_note
from weightscape.figures.numbers import counts, curves, labelled, require, tidy
from weightscape.figures.registry import figure
from weightscape.figures.style import Look, looks

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from weightscape.figures.chart import Chart
    from weightscape.results import Table

CONTROL = "permuted source"
_CONTROL_COLUMNS = ("permuted_source_{split}_accuracy", "source_accuracy")


@figure("transfer-curve")
def transfer_curve(
    table: Table,
    *,
    reference: Table | None = None,
    rows: Table | None = None,
    published: str | None = None,
    split: Literal["validation", "test"] = "validation",
    by: str | Sequence[str] | None = None,
    x: Literal["step", "fraction"] = "step",
    start: Literal[0, 1] = 1,
    epochs: Sequence[int] | None = None,
    chance: float | None = None,
    zoom: tuple[float, float] | None = None,
    title: str = "",
) -> Chart:
    """Accuracy of the transferred network at every step, one curve per method, beside the source's own (permuted).

    Thin lines are single pairs (fewer than ten), the bold line is their mean, the band one standard deviation (n-1).
    The permuted source itself is drawn as a control where the table has its accuracy.

    Args:
        table: One row per pair, method and step: the `by` columns, ``step``, ``validation_accuracy`` or
            ``test_accuracy`` (shares), and the seeds of the runs.
        reference: Epochs of standard training, for the lines "Trained (epoch k)": ``epoch`` and the accuracy.
        rows: The table of the stage itself, whose failed rows are then named as missing.
        published: Published curves to overlay (``mnist-mlp``): open markers with bars of one standard deviation.
        split: The split whose accuracy is drawn.
        by: Column or columns that tell the curves apart; ``method`` when left out.
        x: Steps, or the fraction lambda of the source's displacement.
        start: First step drawn; 0 is the target's initialisation.
        epochs: Epochs of the reference; those of the published figure or else the last one when left out.
        chance: Accuracy of guessing (a share), drawn where the curves come near it.
        zoom: Limits in percent of a second panel, for curves that end close together.
        title: Printed above the figure.
    """
    frame = labelled(table, by=by, rows=rows)
    accuracy = f"{split}_accuracy"
    require(frame, ["step", x, accuracy], name="table")
    frame = frame.loc[frame["failed"] | frame["step"].isna() | (frame["step"] >= start)]
    quantity = f"{split} accuracy (%)"
    paper = load_published(published) if published else None
    parts = [curves(frame, x=x, y=accuracy, quantity=quantity, scale=100), _control(frame, x, split, quantity)]
    if reference is not None:
        chosen = epochs if epochs is not None else (tuple(paper.trained) if paper else None)
        parts.append(_trained(reference, accuracy, chosen, quantity))
    parts += _published(paper, x, quantity, methods=frame["series"])
    return _draw(frame, tidy(parts), x=x, accuracy=accuracy, paper=paper, chance=chance, zoom=zoom, title=title)


def _control(frame: pandas.DataFrame, x: str, split: str, quantity: str) -> pandas.DataFrame:
    """The permuted source computes the same function under every permutation, so methods are averaged per pair."""
    names = [name.format(split=split) for name in _CONTROL_COLUMNS if split == "validation" or "{split}" in name]
    column = next((name for name in names if name in frame.columns), None)
    if column is None:
        return tidy([])
    good = frame.loc[~frame["failed"] & frame[column].notna()]
    pairs = good.groupby(["run", x], sort=False)[column].mean().reset_index().assign(series=CONTROL, failed=False)
    return curves(pairs, x=x, y=column, quantity=quantity, scale=100)


def _trained(table: Table, accuracy: str, epochs: Sequence[int] | None, quantity: str) -> pandas.DataFrame:
    require(table, ["epoch", accuracy], name="reference")
    frame = labelled(table, by=[], name="reference")
    means = curves(frame, x="epoch", y=accuracy, quantity=quantity, scale=100)
    means = means.loc[means["kind"] == "mean"]
    wanted = means["x"].isin(epochs) if epochs is not None else means["x"] == means["x"].max()
    levels = means.loc[wanted]
    names = [f"Trained (epoch {epoch:.0f})" for epoch in levels["x"]]
    return levels.assign(kind="reference", series=names, x=float("nan"))


def _published(paper: Published | None, x: str, quantity: str, *, methods: Iterable[str]) -> list[pandas.DataFrame]:
    if paper is None:
        return []
    import pandas

    frame = paper.to_frame()
    frame = frame.loc[frame["method"].isin(set(methods))]
    steps = frame["step"] / (frame["step"].max() if x == "fraction" else 1)  # the paper's schedule is uniform
    points = frame.assign(series=frame["method"], kind="published", run=paper.source, x=steps, y=frame["mean"])
    names = [f"Trained (epoch {epoch})" for epoch in paper.trained]
    levels = pandas.DataFrame({"series": names, "y": list(paper.trained.values())})
    levels = levels.assign(kind="published reference", run=paper.source)
    return [tidy([part.assign(n=paper.runs)], quantity=quantity) for part in (points, levels)]


def _draw(
    frame: pandas.DataFrame,
    numbers: pandas.DataFrame,
    *,
    x: str,
    accuracy: str,
    paper: Published | None,
    chance: float | None,
    zoom: tuple[float, float] | None,
    title: str,
) -> Chart:
    from weightscape.figures.chart import finish, new_chart
    from weightscape.figures.marks import handle, published_handle

    numbers = _with_chance(numbers, chance)
    number = counts(frame, y=accuracy)
    drawn = looks([*numbers.loc[numbers["kind"].isin(["mean", "published"]), "series"], *number])
    chart, panels = new_chart(numbers, columns=1 if zoom is None else 2)
    for index, axes in enumerate(panels):
        _panel(axes, numbers, drawn, x=x, limits=zoom if index else None, last=axes is panels[-1])
        if paper:
            _make_room(axes, numbers["x"], share=0.05 + 0.06 * len(panels))
    panels[0].set_ylabel(str(numbers["quantity"].iloc[0]) if len(numbers) else accuracy)
    _, absent = present_and_missing(number)
    handles = [
        handle(look, label=f"{look.label} (missing)" if name in absent else None, alpha=0.35 if name in absent else 1)
        for name, look in drawn.items()
    ]
    notes = [runs_note(frame, number), missing_note(frame, number, drawn)]
    if paper:
        handles.append(published_handle("paper, ±1 SD"))
        notes.append(f"Open markers, moved sideways to be seen: {paper.source} (n = {paper.runs}, {paper.split}).")
    return finish(chart, handles, notes=notes, title=title)


def _make_room(axes: Axes, values: pandas.Series[float], *, share: float) -> None:
    """Leave room on the right for the markers that are moved sideways."""
    left, right = values.min(), values.max()
    span = max(right - left, 1e-9)
    axes.set_xlim(left - 0.05 * span, right + share * span)


def _with_chance(numbers: pandas.DataFrame, chance: float | None) -> pandas.DataFrame:
    """Add the level of guessing if the curves come near it; else it would squeeze them for nothing."""
    if chance is None or numbers.empty or numbers["y"].min() > 100 * chance + 15:
        return numbers
    import pandas

    row = {"quantity": numbers["quantity"].iloc[0], "series": "chance", "kind": "chance", "run": "", "y": 100 * chance}
    return tidy([numbers, pandas.DataFrame([row | {"x": float("nan")}])])


def _panel(
    axes: Axes,
    numbers: pandas.DataFrame,
    drawn: dict[str, Look],
    *,
    x: str,
    limits: tuple[float, float] | None,
    last: bool,
) -> None:
    from weightscape.figures.chart import integer_ticks
    from weightscape.figures.marks import draw_curve, draw_levels, draw_published, draw_published_levels

    kinds = numbers["kind"]
    for name, look in drawn.items():
        draw_curve(axes, numbers.loc[(numbers["series"] == name) & kinds.isin(["run", "mean"])], look)
    draw_published(axes, numbers.loc[kinds == "published"], drawn)
    levels = numbers.loc[kinds.isin(["reference", "chance"])]
    axes.set_xlabel("transfer step" if x == "step" else "fraction λ of the source's displacement")
    if x == "step":
        integer_ticks(axes)
    paper_levels = numbers.loc[kinds == "published reference"]
    for level in [*levels["y"], *paper_levels["y"]]:
        axes.update_datalim([(numbers["x"].dropna().min(), level)])
    axes.autoscale_view()
    if limits is not None:
        axes.set_ylim(*limits)
        levels, paper_levels = (part.loc[part["y"].between(*limits)] for part in (levels, paper_levels))
    draw_published_levels(axes, paper_levels)
    draw_levels(axes, levels, labels=last)
