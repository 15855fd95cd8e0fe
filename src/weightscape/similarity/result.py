"""What representations and comparisons return. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weightscape.results import PlottedResult, Result

if TYPE_CHECKING:
    import pandas

    from weightscape.results import Table
    from weightscape.weights.algebra import Weights


@dataclass(frozen=True)
class Representation(Result):
    """The layers of one network on a probe set, ready to be compared with those of others without the network.

    The table ``layers`` has one row per layer in order of execution: ``layer``, ``depth`` (from 0), ``shape`` of the
    activation without the batch, ``width`` (units of a row of its matrix), ``form`` and ``bytes`` stored.

    Attributes:
        grams: One Gram matrix per layer, with the outputs of the network and the labels, as flat tensors.
        layers: What the layers are.
        fingerprint: Hash of the probe set.
        count: Samples of the probe set.
        form: How activations became rows.
        lossy_images: Whether the images are a lossy copy of the original ones.
    """

    grams: Weights
    layers: Table
    fingerprint: str
    count: int
    form: str
    lossy_images: bool = False


@dataclass(frozen=True)
class Comparison(PlottedResult):
    """Layers of networks compared with each other.

    The table ``layers`` has one row per pair of networks, pair of layers and measure: ``source`` and ``target`` (names
    of the networks, where there are more than two), ``source_layer`` and ``target_layer`` with their ``_depth`` (place
    in the order of execution among the layers compared, from 0) and ``_width`` (units), ``measure``, ``kind``
    (similarity or distance), ``value``, ``low``, ``high`` and ``stderr`` (the interval over samples), ``null`` (mean
    of the measure for shuffled pairs of samples), ``null_low`` and ``null_high`` (their 2.5 and 97.5 % quantiles),
    ``p_value`` (share of shuffles that are at least as alike), ``n`` (rows compared), ``form`` (how activations became
    rows), ``biased`` (whether the value depends on the number of samples) and ``message`` (why there is no value).

    Measures of the networks' outputs have the layer ``output``.

    Attributes:
        layers: Every value.
        measures: Names of the measures, separated by commas.
        mean: Mean of the first measure over corresponding layers; None where none correspond.
        identified: Share of the layers of the first network whose most similar layer of the second, by the first
            measure, is the corresponding one; None where none correspond.
        pairs: Pairs of networks.
        count: Samples shown to the networks.
        fingerprint: Hash of the probe set.
        measured_on: The split; empty where it is not known.
        lossy_images: Whether the images are a lossy copy of the original ones.
    """

    layers: Table
    measures: str
    mean: float | None
    identified: float | None
    pairs: int
    count: int
    fingerprint: str
    measured_on: str = ""
    lossy_images: bool = False

    def __repr__(self) -> str:
        return "\n".join(sentences(self.layers, self.count))

    def figure(self) -> tuple[str, dict[str, Table], dict[str, Any]]:
        """Return the name of the figure of this result, its tables and its options."""
        return "layer-matrix", {"table": self.layers}, {}

    def matrix(self, measure: str | None = None) -> pandas.DataFrame:
        """Return the values of one measure, layers of the first networks as rows, means over pairs of networks.

        Args:
            measure: Its name as in the table; the first one by default.
        """
        rows = self.layers.loc[self.layers["measure"] == (measure or self.layers["measure"].iloc[0])]
        found = rows.pivot_table(index="source_layer", columns="target_layer", values="value", sort=False)
        return found.rename_axis(index="source", columns="target")


def corresponding(layers: Table) -> pandas.DataFrame:
    """Return the rows of layers that correspond: of the same name, or in the same place where no names are equal."""
    equal = layers["source_layer"] == layers["target_layer"]
    if not equal.any() and layers["source_layer"].nunique() == layers["target_layer"].nunique():
        equal = layers["source_depth"] == layers["target_depth"]
    return layers.loc[equal]


def identified(layers: Table) -> float | None:
    """Return the share of layers whose most similar layer in the other network is the corresponding one.

    The sanity check of Kornblith et al. 2019 (arXiv 1905.00414, section 6.1).

    Args:
        layers: Rows of one measure.
    """
    found = _identifications(layers)
    return None if not len(found) else float(found.mean())


def _identifications(layers: Table) -> pandas.Series[bool]:
    """Return for each layer that has several candidates whether the corresponding one is the most similar."""
    known = layers.loc[layers["value"].notna()]
    sign = -1 if (known["kind"] == "distance").any() else 1
    networks = [column for column in ("source", "target") if column in known.columns]
    keys = [*networks, "source_layer"]
    known = known.assign(score=sign * known["value"])
    several = known.groupby(keys, sort=False)["score"].transform("size") > 1
    matched = corresponding(known).set_index(keys)["target_layer"]
    best = known.loc[known.loc[several].groupby(keys, sort=False)["score"].idxmax()].set_index(keys)["target_layer"]
    shared = best.index.intersection(matched.index)
    return best.loc[shared] == matched.loc[shared]


def sentences(layers: Table, count: int) -> list[str]:
    """Return what a comparison found, a line for each measure."""
    lines = []
    for measure, rows in layers.groupby("measure", sort=False):
        lines.append(f"{measure}: {_values(rows)}{_interval(rows)}{_null(rows)}{_identified(rows)}")
    pairs = "" if "source" not in layers.columns else f", {layers.groupby(['source', 'target']).ngroups} pairs"
    missing = int(layers["value"].isna().sum())
    lacking = f"; {missing} of {len(layers)} values are missing (see 'message')" if missing else ""
    return [*lines, f"Compared on {count:,} samples{pairs}{lacking}"]


def _values(rows: pandas.DataFrame) -> str:
    matched = corresponding(rows).groupby("source_layer", sort=False)["value"].mean().dropna()
    if matched.empty:
        known = rows["value"].dropna()
        return "no value" if known.empty else f"{known.min():.3g} to {known.max():.3g} over all pairs of layers"
    if len(matched) <= 12:
        return ", ".join(f"{layer} {value:.3f}" for layer, value in matched.items())
    text = f"{matched.mean():.3f} on average over {len(matched)} corresponding layers"
    return f"{text}, from {matched.min():.3f} ({matched.idxmin()}) to {matched.max():.3f} ({matched.idxmax()})"


def _interval(rows: pandas.DataFrame) -> str:
    matched = corresponding(rows)
    width = (matched["high"] - matched["low"]).max() / 2
    return "" if width != width else f"; 95 % intervals over samples within ±{width:.2g}"


def _null(rows: pandas.DataFrame) -> str:
    if "null" not in rows.columns or rows["null"].isna().all():
        return ""
    low, high = (round(value, 3) + 0.0 for value in (rows["null"].min(), rows["null"].max()))  # no -0.000
    return f"; shuffled pairs of samples: {low:.3f} to {high:.3f}"


def _identified(rows: pandas.DataFrame) -> str:
    found = _identifications(rows)
    if not len(found):
        return ""
    return f"; the most similar layer is the corresponding one for {int(found.sum())} of {len(found)}"
