"""Tables of pairs of networks: who the front and the back are, and means over pairs with intervals over networks.

Numbers of such figures have the columns ``quantity`` (the axis, with its unit), ``panel``, ``series`` (the curve),
``kind`` (``pair`` or ``mean``), ``run`` (the pair), ``layer``, ``x``, ``y``, ``low`` and ``high`` (the interval over
networks, missing below three), ``pairs`` and ``networks``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from weightscape.figures.numbers import DONE, THIN_LINES_BELOW
from weightscape.figures.registry import FigureError

if TYPE_CHECKING:
    import pandas

PAIR_COLUMNS = (
    "quantity",
    "panel",
    "series",
    "kind",
    "run",
    "layer",
    "x",
    "y",
    "low",
    "high",
    "pairs",
    "networks",
)
_TEXTS = PAIR_COLUMNS[:6]
LEVEL = 0.95
_ANY = math.inf
POSSIBLE: dict[str, tuple[float, float]] = {
    "accuracy relative to the back network": (0.0, _ANY),
    "accuracy relative to the front network": (0.0, _ANY),
    "accuracy (share)": (0.0, 1.0),
    "same prediction as the back network (share)": (0.0, 1.0),
    "cross-entropy to the back network (nats)": (0.0, _ANY),
    "KL divergence from the back network (nats)": (0.0, _ANY),
    "loss (nats)": (0.0, _ANY),
    "linear CKA with the back network": (0.0, 1.0),
    "debiased linear CKA with the back network": (-_ANY, 1.0),
    "mean squared difference from the back network": (0.0, _ANY),
    "linear regression R²": (-_ANY, 1.0),
}
"""The lowest and the highest value of quantities that have one."""
_Network: TypeAlias = tuple[tuple[str, Any], ...]


def with_pairs(table: pandas.DataFrame) -> pandas.DataFrame:
    """Add ``first`` and ``second`` (the networks), ``run`` (their short names, ``0→1``) and ``failed``.

    A network is known by all settings of it that the table has: the columns ``front.…`` and ``back.…``.
    """
    frame = table.reset_index(drop=True)
    prefixes = {role: _prefix(frame, role) for role in ("front", "back")}
    columns = {
        role: {str(column)[len(prefix) :]: str(column) for column in frame if prefix and str(column).startswith(prefix)}
        for role, prefix in prefixes.items()
    }
    same = set(columns["front"]) == set(columns["back"])
    names = {role: _identities(frame, found) for role, found in columns.items()}
    short = _short_names([name for role in names for name in names[role]])
    space = {"front": "", "back": "" if same and columns["back"] else "back "}
    failed = frame["status"].notna() & ~frame["status"].isin(DONE) if "status" in frame.columns else False
    return frame.assign(
        first=[space["front"] + repr(name) for name in names["front"]],
        second=[space["back"] + repr(name) for name in names["back"]],
        run=[
            f"{short[one]}→{short[other]}" if one and other else short[one or other]
            for one, other in zip(names["front"], names["back"], strict=True)
        ],
        failed=failed,
    )


def _prefix(frame: pandas.DataFrame, role: str) -> str:
    """Return ``front.`` or, where the inputs are stitches, ``first.front.``; the shortest there is."""
    found = [
        ".".join(parts[: parts.index(role) + 1]) + "."
        for column in frame.columns
        if role in (parts := str(column).split("."))[:-1]
    ]
    return min(found, key=len, default="")


def _identities(frame: pandas.DataFrame, columns: Mapping[str, str]) -> list[_Network]:
    """Return the settings of every row's network, by name; `columns` says where they stand."""
    values = [[_plain(value) for value in frame[column]] for column in columns.values()]
    rows = zip(*values, strict=True) if columns else [()] * len(frame)
    return [tuple(zip(columns, row, strict=True)) for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    return value.item() if hasattr(value, "item") else value


def _short_names(names: Sequence[_Network]) -> dict[_Network, str]:
    """Return a name for every network: its seed if that tells them apart, else what does."""
    distinct = list(dict.fromkeys(name for name in names if name))
    rows = [dict(name) for name in distinct]
    settings = list(dict.fromkeys(setting for row in rows for setting in row))
    varying = [setting for setting in settings if len({str(row.get(setting)) for row in rows}) > 1]
    varying.sort(key=lambda setting: (setting != "seed", not setting.endswith("seed"), setting == "path"))
    chosen: list[str] = []
    for setting in varying:
        known = len({tuple(str(row.get(part)) for part in chosen) for row in rows})
        if len({tuple(str(row.get(part)) for part in [*chosen, setting]) for row in rows}) > known:
            chosen.append(setting)
    texts = [", ".join(str(row.get(setting)) for setting in chosen) for row in rows]
    shorter = dict(zip(distinct, _without_common_folders(texts), strict=True))
    return shorter | {(): ""}


def _without_common_folders(texts: Sequence[str]) -> list[str]:
    """Return what differs of paths: ``in0-gn0`` of ``nets/in0-gn0/110000.pt``."""
    parts = [text.split("/") for text in texts]
    if len({len(part) for part in parts}) != 1 or len(parts) < 2:
        return list(texts)
    places = [place for place in range(len(parts[0])) if len({part[place] for part in parts}) > 1]
    return ["/".join(part[place] for place in places) for part in parts]


def pair_means(
    frame: pandas.DataFrame, *, x: str, y: str, quantity: str, scale: float = 1.0, panel: str | None = None
) -> pandas.DataFrame:
    """Return every pair's value and, per series and `x`, the mean with its interval over networks.

    Args:
        frame: A :func:`with_pairs` table with ``series`` and, where there are layers, ``layer``.
        x: Column of the horizontal axis.
        y: Column of the vertical axis; missing values are left out.
        quantity: What `y` times `scale` is, with its unit.
        scale: Factor on `y`.
        panel: Column that tells panels apart.

    Raises:
        FigureError: If a pair has several values that differ in more than the seed of the stitch.
    """
    if y not in frame.columns:
        return tidy_pairs([])
    rows = frame.loc[~frame["failed"] & frame[y].notna() & frame[x].notna()].copy()
    rows = rows.assign(_y=rows[y].astype(float) * scale, _x=rows[x].astype(float), _panel=rows[panel] if panel else "")
    if "layer" not in rows.columns:
        rows = rows.assign(layer="")
    keys = ["_panel", "series", "layer", "_x"]
    _refuse_unknown_repetitions(rows, [*keys, "first", "second"], x)
    single = rows.groupby([*keys, "first", "second", "run"], sort=False)["_y"].mean().reset_index()
    parts = [_mean_of(group, dict(zip(keys, place, strict=True))) for place, group in single.groupby(keys, sort=False)]
    import pandas

    singles = single.assign(kind="pair").rename(columns={"_panel": "panel", "_x": "x", "_y": "y"})
    return tidy_pairs([singles, pandas.DataFrame(parts)] if parts else [], quantity=quantity)


def _mean_of(group: pandas.DataFrame, place: Mapping[str, Any]) -> dict[str, Any]:
    from weightscape.similarity.networks import mean_over_pairs

    found = mean_over_pairs(list(group["_y"]), list(group["first"]), list(group["second"]), level=LEVEL)
    row = {"kind": "mean", "run": "", "y": found.mean, "low": found.low, "high": found.high}
    row |= {"panel": place["_panel"], "series": place["series"], "layer": place["layer"], "x": place["_x"]}
    return {**row, "pairs": found.pairs, "networks": found.networks}


def _refuse_unknown_repetitions(rows: pandas.DataFrame, keys: list[str], x: str) -> None:
    """Repetitions with other random numbers are averaged; others are a mistake: what differs was not named.

    Raises:
        FigureError: In that case.
    """
    import pandas

    repeated = rows.loc[rows.duplicated(keys, keep=False)]
    if repeated.empty:
        return
    ignored = {*keys, "_y", "key", "seed", "status", "message", "run", "failed", "place"}
    group = repeated.loc[(repeated[keys] == repeated.iloc[0][keys]).all(axis=1)]
    if "seed" in group.columns and group["seed"].nunique() == len(group):
        return
    settings = [
        str(column)
        for column in rows.columns
        if column not in ignored
        and (not pandas.api.types.is_numeric_dtype(rows[column]) or "." in str(column) or column in _SETTINGS)
    ]
    differing = [column for column in settings if group[column].astype(str).nunique() > 1]
    first = group.iloc[0]
    raise FigureError(
        f"One value per pair of networks and {x} is expected; {first['series']!r} has {len(group)} for the pair "
        f"{first['run'] or 'of networks'} at {first['layer'] or first[x]}. The rows differ in: "
        f"{', '.join(differing) or 'nothing'}. Name what tells the curves apart in the option 'by' of the figure."
    )


_SETTINGS = {"l1", "cka_reg", "rank", "temperature", "lr", "weight_decay", "epochs", "batch_size", "penalty"}
"""Settings that are numbers: measurements are numbers as well, and differ in any case."""


def tidy_pairs(parts: Sequence[pandas.DataFrame], *, quantity: str | None = None) -> pandas.DataFrame:
    """Join parts into one table with the columns of this module, in their order."""
    import pandas

    rows = [_typed(part) for part in parts if len(part)]
    if not rows:
        return _typed(pandas.DataFrame(columns=list(PAIR_COLUMNS)))
    frame = pandas.concat(rows, ignore_index=True)
    return frame if quantity is None else frame.assign(quantity=quantity)


def _typed(part: pandas.DataFrame) -> pandas.DataFrame:
    part = part.assign(**{column: part[column].astype(str) if column in part else "" for column in _TEXTS})
    part = part.reindex(columns=list(PAIR_COLUMNS)).astype({"pairs": "Int64", "networks": "Int64"})
    return part.astype(dict.fromkeys(("x", "y", "low", "high"), "float"))


def possible(numbers: pandas.DataFrame) -> pandas.DataFrame:
    """Cut intervals where no value can be, for drawing.

    An interval from few networks is symmetric and wide, so that it may reach below a distance of 0.
    """
    low = numbers["quantity"].map(lambda name: POSSIBLE.get(name, (-_ANY, _ANY))[0]).astype(float)
    high = numbers["quantity"].map(lambda name: POSSIBLE.get(name, (-_ANY, _ANY))[1]).astype(float)
    return numbers.assign(low=numbers["low"].clip(lower=low), high=numbers["high"].clip(upper=high))


def pairs_note(numbers: pandas.DataFrame, *, band: str = "band", thin: bool = True) -> str:
    """Return for example ``n = 12 ordered pairs of 4 networks; band: 95 % interval, ...``."""
    means = numbers.loc[numbers["kind"] == "mean"]
    if means.empty:
        return ""
    pairs, networks = int(means["pairs"].max()), int(means["networks"].max())
    if pairs == 1:
        return "One pair of networks." if networks > 1 else "One network with itself."
    text = f"n = {pairs} ordered pairs of {networks} networks"
    if thin and pairs < THIN_LINES_BELOW:
        text += "; thin: single pairs, bold: mean"
    if means["low"].notna().any():
        cut = band == "band" and not possible(means).equals(means)
        where = ", drawn as far as values are possible" * cut
        return f"{text}; {band}: 95 % interval, which leaves out one network at a time{where}."
    return f"{text}; no interval: at least three networks are needed for one."
