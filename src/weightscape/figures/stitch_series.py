"""The series of the figures of stitching: how a layer is matched, under one name and with one look everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from weightscape.figures.layers import with_layers
from weightscape.figures.numbers import DONE, require
from weightscape.figures.pairs import with_pairs
from weightscape.figures.style import Look, looks

if TYPE_CHECKING:
    import pandas

    from weightscape.results import Table

TASK = "task loss"
FULL_RANK = ", full rank"
BEFORE = "before training"
METHODS = {
    "identity": "identity",
    "permutation": "permutation",
    "semi-match": "best match",
    "abs-semi-match": "best match of either sign",
    "orthogonal": "rotation",
    "orthogonal-centred": "rotation, centred",
    "least-squares": "least squares",
    "ridge": "ridge",
    "reduced-rank": "reduced rank",
    "sparse": "sparse",
}
"""Methods of direct matching, as figures call them."""

_LOOKS = {
    TASK: Look(TASK, "#0072B2", "o"),
    "least squares": Look("least squares", "#D55E00", "s"),
    "rotation": Look("rotation", "#009E73", "^"),
    "permutation": Look("permutation", "#CC79A7", "D"),
    "best match": Look("best match", "#8C6D1F", "v"),
    BEFORE: Look(BEFORE, "#D55E00", "s"),
    "reduced rank": Look("reduced rank", "#D55E00", "s"),
    "sparse": Look("sparse", "#D55E00", "s"),
    "identity": Look("identity", "#7a7a7a", "x"),
    "as they are": Look("as they are", "#7a7a7a", "x"),
}

RelativeTo: TypeAlias = Literal["back", "front", "chance"]
ACCURACIES: dict[str, tuple[str, str]] = {
    "back": ("relative_accuracy", "accuracy relative to the back network"),
    "front": ("relative_to_front", "accuracy relative to the front network"),
    "chance": ("above_chance", "accuracy above chance, relative to the back network"),
}
"""Column and name of relative accuracy, by what it is relative to."""
MEASURES: dict[str, str] = {
    **dict(ACCURACIES.values()),
    "accuracy": "accuracy (share)",
    "cross_entropy": "cross-entropy to the back network (nats)",
    "kl": "KL divergence from the back network (nats)",
    "agreement": "same prediction as the back network (share)",
    "loss": "loss (nats)",
}
"""What figures of stitches can draw: columns, and what they are."""
Measure: TypeAlias = Literal[
    "relative_accuracy",
    "relative_to_front",
    "above_chance",
    "accuracy",
    "cross_entropy",
    "kl",
    "agreement",
    "loss",
]
SHARES = ("relative_accuracy", "relative_to_front", "above_chance", "accuracy", "agreement")
"""Measures of which 1 is the best and whose axis begins at 0."""


def stitch_frame(
    table: Table,
    *,
    by: str | Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    rows: Table | None = None,
    name: str = "table",
    task: str = TASK,
) -> pandas.DataFrame:
    """Return a table of stitches with the columns ``series``, ``first``, ``second``, ``run``, ``layer`` and ``place``.

    Args:
        table: Rows of ``stitch``, or the table ``matches`` of ``direct-matching``: these have a column ``method``.
        by: Columns that tell curves apart beside the method.
        methods: Methods of direct matching that are kept; all when left out.
        rows: The stage's own table, whose failed rows are added.
        name: The table's name, for messages.
        task: What stitches are called that were trained on the task.

    Raises:
        FigureError: If a column is missing.
    """
    columns = [by] if isinstance(by, str) else list(by or ())
    frame = _with_settings(table, rows)
    require(frame, ["front_layer", *columns], name=name)
    frame = _with_failures(frame, rows)
    if "method" in table.columns:
        frame = frame.loc[frame["method"].isin(list(METHODS if methods is None else methods))]
        names = [METHODS.get(method, str(method)) for method in frame["method"]]
    else:
        names = [task] * len(frame)
    labels = [_label(dict(zip(columns, row, strict=True))) for row in _rows(frame, columns)]
    series = [
        label if label and name == task else ", ".join(filter(None, (name, label)))
        for name, label in zip(names, labels, strict=True)
    ]
    return with_layers(with_pairs(frame.assign(series=series)))


def beginnings(frame: pandas.DataFrame, measures: Sequence[str]) -> pandas.DataFrame:
    """Return the rows of ``stitch`` as they were before training, as a series of their own.

    Raises:
        FigureError: If the table does not have the beginning of a measure.
    """
    require(frame, [f"initial_{measure}" for measure in measures], name="table")
    named = [BEFORE if name == TASK else f"{BEFORE}, {name}" for name in frame["series"]]
    return frame.assign(series=named, **{measure: frame[f"initial_{measure}"] for measure in measures})


def _with_settings(table: Table, rows: Table | None) -> pandas.DataFrame:
    """Return a detail table with all settings and metrics of its stage beside each line."""
    frame = table.reset_index(drop=True).copy()  # one block: tables of many columns come in many
    if rows is not None and "key" in table.columns and "key" in rows.columns:
        added = rows[["key", *(column for column in rows.columns if column not in table.columns)]]
        frame = frame.merge(added.drop_duplicates("key"), on="key", how="left").copy()
    for column in ("front_layer", "back_layer"):
        inherited = [str(name) for name in frame.columns if str(name).endswith(f".{column}")]
        if column not in frame.columns and inherited:
            frame = frame.assign(**{column: frame[min(inherited, key=len)]})
    return frame


def _with_failures(frame: pandas.DataFrame, rows: Table | None) -> pandas.DataFrame:
    import pandas

    if rows is None or "status" not in rows.columns:
        return frame
    unfinished = rows.loc[~rows["status"].isin(DONE)]
    if "key" in frame.columns and "key" in rows.columns:
        unfinished = unfinished.loc[~unfinished["key"].isin(frame["key"])]
    return pandas.concat([frame, unfinished], ignore_index=True).copy() if len(unfinished) else frame


def _rows(frame: pandas.DataFrame, columns: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    return frame[list(columns)].itertuples(index=False, name=None) if columns else ((),) * len(frame)


def _label(settings: Mapping[str, Any]) -> str:
    """Return settings in words: a word speaks for itself, a number needs its name."""
    return ", ".join(
        str(value) if isinstance(value, str) else f"{name.rpartition('.')[2]}={_number(value)}"
        for name, value in settings.items()
    )


def _number(value: Any) -> str:
    return "none" if value is None or value != value else f"{value:g}" if isinstance(value, float) else str(value)


def together(frames: Sequence[pandas.DataFrame]) -> pandas.DataFrame:
    """Return several tables as one, with the layers of all in one order.

    Networks are told apart by the settings that all of the tables have.
    """
    import pandas

    if len(frames) == 1:
        return frames[0]
    return with_layers(_common_pairs(pandas.concat(list(frames), ignore_index=True).copy(), frames))


def _common_pairs(frame: pandas.DataFrame, parts: Sequence[pandas.DataFrame]) -> pandas.DataFrame:
    """Name pairs anew by the settings that no table lacks: one table may have more columns than another."""
    shared = set.intersection(*({str(column) for column in part.columns} for part in parts))
    settings = [column for column in frame.columns if {"front", "back"} & set(str(column).split(".")[:-1])]
    kept = with_pairs(frame.drop(columns=[column for column in settings if column not in shared]))
    return frame.assign(**{column: kept[column] for column in ("first", "second", "run")})


def stitch_looks(names: Iterable[str]) -> dict[str, Look]:
    """Return the look of every series, in the order given; known ones have one look in all figures."""
    names = list(dict.fromkeys(names))
    known = {name: _LOOKS[family] for name in names if (family := name.removesuffix(FULL_RANK)) in _LOOKS}
    chosen = {name: replace(look, label=name) for name, look in known.items()}
    used = {look.colour for look in chosen.values()}
    others = iter(looks(f"\0{index}" for index in range(40)).values())
    for name in (name for name in names if name not in chosen):
        look = next(look for look in others if look.colour not in used or len(names) > 7)
        chosen[name] = Look(name, look.colour, look.marker, look.dash)
    return {name: chosen[name] for name in names}
