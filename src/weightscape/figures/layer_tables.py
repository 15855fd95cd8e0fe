"""From the table of a comparison to the numbers of its figures: layers in order, means over pairs, what they rest on.

The table has one row per pair of networks, pair of layers and measure, as
:func:`weightscape.similarity.comparison.compare` makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weightscape.figures.numbers import DONE, labelled, require
from weightscape.figures.registry import FigureError

if TYPE_CHECKING:
    import pandas

    from weightscape.results import Table

_NEEDED = ("source_layer", "target_layer", "measure", "value")
_ALONE = ("low", "high", "null")
COLUMNS = (
    *("quantity", "series", "kind", "source_layer", "target_layer", "source_depth", "target_depth"),
    *("y", "low", "high", "null", "sd", "n", "networks"),
)


def comparisons(
    table: Table, *, rows: Table | None, by: str | Sequence[str], measures: Sequence[str] | None
) -> pandas.DataFrame:
    """Return the rows of the measures wanted, with ``series``, ``first`` and ``second`` network, and ``failed``.

    Raises:
        FigureError: If columns or a measure are missing.
    """
    import pandas

    require(table, _NEEDED, name="table")
    frame = labelled(table, by=by, rows=_failed_pairs(rows, by))
    there = list(dict.fromkeys(frame["measure"].dropna()))
    wrong = [measure for measure in measures or () if measure not in there]
    if wrong:
        raise FigureError(f"The table has no measure {wrong[0]!r}; it has: {', '.join(there)}.")
    if measures is not None:
        frame = frame.loc[frame["measure"].isin(measures) | frame["failed"]]
    first, second = _networks(frame)
    frame = frame.assign(first=first, second=second)
    for column in ("low", "high", "null", "source_depth", "target_depth"):
        if column not in frame.columns:
            frame[column] = float("nan")
    return pandas.DataFrame(frame)


def _failed_pairs(rows: Table | None, by: str | Sequence[str]) -> Table | None:
    """What only the detail table has tells curves apart, but not pairs of networks that failed."""
    if rows is None:
        return None
    wanted = [by] if isinstance(by, str) else by
    return rows if all(column in rows.columns for column in wanted) else None


def _networks(frame: pandas.DataFrame) -> tuple[list[str], list[str]]:
    """Return a name for the two networks of each row, the same for the same network in either place.

    A network is known by its label, or by all its settings in the table, the columns ``source.…`` and ``target.…``.
    """
    if {"source", "target"} <= set(frame.columns):
        return list(frame["source"].astype(str)), list(frame["target"].astype(str))
    settings = {role: _settings(frame, role) for role in ("source", "target")}
    common = [name for name in settings["source"] if name in settings["target"]]
    if not common:
        return ["first"] * len(frame), ["second"] * len(frame)
    rows = [frame[[columns[name] for name in common]].itertuples(index=False) for columns in settings.values()]
    first, second = ([repr([str(value) for value in row]) for row in side] for side in rows)
    return first, second


def _settings(frame: pandas.DataFrame, role: str) -> dict[str, str]:
    """Return the columns with the settings of a network by what follows its role: ``seed`` of ``start.source.seed``."""
    parts = {str(column): str(column).split(".") for column in frame.columns}
    return {".".join(of[of.index(role) + 1 :]): column for column, of in parts.items() if role in of[:-1]}


def layer_order(frame: pandas.DataFrame, side: str) -> list[str]:
    """Return the layers of one side in order of execution.

    Args:
        frame: Rows of comparisons.
        side: ``source`` or ``target``.
    """
    known = frame.loc[frame[f"{side}_layer"].notna()]
    depth = known.groupby(f"{side}_layer", sort=False)[f"{side}_depth"].mean()
    return [str(name) for name in depth.sort_values(kind="stable").index]


def means(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return one row per series, measure and pair of layers: the mean over pairs of networks and what it rests on.

    For one pair, ``low`` and ``high`` are those of the comparison. For several, they are the ends of the 95 % interval
    that leaves out whole networks, as pairs that share one are not independent.
    """
    import pandas

    good = frame.loc[~frame["failed"] & frame["value"].notna()]
    keys = ["measure", "series", "source_layer", "target_layer"]
    _refuse_duplicates(good, keys)
    rows = [{**dict(zip(keys, names, strict=True)), **_mean(group)} for names, group in good.groupby(keys, sort=False)]
    found = pandas.DataFrame(rows, columns=[*keys, *_COLUMNS_OF_MEANS])
    found = found.rename(columns={"measure": "quantity"}).assign(kind="mean")
    return found.reindex(columns=list(COLUMNS))


_COLUMNS_OF_MEANS = ("source_depth", "target_depth", "y", "low", "high", "null", "sd", "n", "networks")


def _mean(group: pandas.DataFrame) -> dict[str, float]:
    from weightscape.similarity.networks import mean_over_pairs

    first = group.iloc[0]
    found = {
        "source_depth": first["source_depth"],
        "target_depth": first["target_depth"],
        "y": float(group["value"].mean()),
        "null": float(group["null"].mean()),
        "sd": float(group["value"].std(ddof=1)) if len(group) > 1 else float("nan"),
        "n": len(group),
        "networks": len({*group["first"], *group["second"]}),
    }
    if len(group) == 1:
        return {**found, "low": first["low"], "high": first["high"]}
    pairs = mean_over_pairs(list(group["value"]), group["first"].tolist(), group["second"].tolist())
    return {**found, "low": pairs.low, "high": pairs.high}


def _refuse_duplicates(rows: pandas.DataFrame, keys: list[str]) -> None:
    repeated = rows.loc[rows.duplicated([*keys, "run", "first", "second"], keep=False)]
    if repeated.empty:
        return
    first = repeated.loc[(repeated[keys] == repeated.iloc[0][keys]).all(axis=1)]
    skipped = {*keys, "key", "first", "second", "run", "value", *_ALONE}
    differing = [
        str(column) for column in rows.columns if column not in skipped and first[column].astype(str).nunique() > 1
    ]
    example = first.iloc[0]
    raise FigureError(
        f"One value per pair of networks, pair of layers and measure is expected; {len(first)} rows are of "
        f"{example['measure']} between {example['source_layer']} and {example['target_layer']}. They differ in: "
        f"{', '.join(differing) or 'nothing'}. Name it in the option 'by' of the figure, or choose rows with '?' in "
        "'from'."
    )


def pairs_note(numbers: pandas.DataFrame) -> str:
    """Return of how many pairs the values are the means, for example ``Mean of 6 pairs of 4 networks``."""
    most = int(numbers["n"].max()) if len(numbers) else 0
    if most == 0:
        return "No pair has finished"
    if most == 1:
        return "One pair of networks"
    networks = int(numbers["networks"].max())
    if (numbers.groupby(["quantity", "series"])["n"].nunique() > 1).any():
        lacking = f", {int(numbers['n'].min())} where some are missing"
    else:
        lacking = "" if (numbers["n"] == most).all() else f", {int(numbers['n'].min())} in another panel"
    return f"Mean of {most} pairs of {networks} networks{lacking}"


def samples_note(frame: pandas.DataFrame) -> str:
    """Return on how many samples and in which form: ``on 1,000 images, features``."""
    parts = []
    if "n" in frame.columns and frame["n"].notna().any():
        counts = sorted({int(count) for count in frame["n"].dropna()})
        parts.append(f"{' or '.join(f'{count:,}' for count in counts)} samples")
    if "form" in frame.columns and frame["form"].notna().any():
        parts.append("activations as " + ", ".join(dict.fromkeys(map(str, frame["form"].dropna()))))
    return ", ".join(parts)


def null_note(numbers: pandas.DataFrame) -> str:
    """Return the range of the null of each measure, for example ``Shuffled pairs: linear-cka .02 to .05``."""
    known = numbers.loc[numbers["null"].notna()]
    if known.empty:
        return ""
    ranges = known.groupby("quantity", sort=False)["null"].agg(["min", "max"])
    parts = [f"{name} {low:.2g} to {high:.2g}" for name, low, high in ranges.itertuples()]
    return f"Shuffled pairs of samples give: {'; '.join(parts)}"


def interval_note(numbers: pandas.DataFrame) -> str:
    """Return what the intervals in the CSV are, and how wide they get."""
    known = numbers.loc[numbers["low"].notna() & numbers["high"].notna()]
    if known.empty:
        return ""
    widths = (known["high"] - known["low"]).groupby(known["quantity"], sort=False).max() / 2
    over = "leaving out whole networks" if (known["n"] > 1).any() else "over the samples"
    parts = [f"{name} ±{width:.2g}" for name, width in widths.items()]
    return f"95 % intervals {over}, at most: {'; '.join(parts)}"


def missing_pairs_note(frame: pandas.DataFrame) -> str:
    """Return how many pairs of networks failed."""
    if "status" not in frame.columns:
        return ""
    failed = frame.loc[frame["status"].notna() & ~frame["status"].isin(DONE), "run"].nunique()
    return f"Missing: {failed} pair{'s' * (failed != 1)} of networks failed" if failed else ""
