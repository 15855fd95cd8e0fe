"""Means over pairs of networks, and their intervals: pairs that share a network are not independent. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weightscape.errors import WeightscapeError
from weightscape.results import Result

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class PairMean(Result):
    """A mean over pairs of networks.

    Attributes:
        mean: Over the pairs; several values of one pair count as their mean.
        low: Lower end of the interval; NaN where there are too few networks.
        high: Upper end of the interval.
        stderr: Standard error of the sampling of networks.
        pairs: Number of pairs.
        networks: Number of networks in them.
    """

    mean: float
    low: float
    high: float
    stderr: float
    pairs: int
    networks: int


def mean_over_pairs(
    values: Sequence[float], first: Sequence[Hashable], second: Sequence[Hashable], *, level: float = 0.95
) -> PairMean:
    """Return the mean over pairs of networks with an interval for other networks of the same kind.

    The jackknife leaves out one *network* at a time, with all its pairs. For values that are a sum of what the two
    networks bring it is the usual standard error of these; resampling pairs instead treats 12 pairs of 4 networks as
    12 independent observations and gives intervals that are much too narrow. Where no network is in both places, the
    two populations are left out one by one and their variances added. The quantiles are Student's t, with one degree
    of freedom less than networks in each population. Three networks are the least.

    Args:
        values: One number per pair; NaN is left out.
        first: The first network of each pair, such as the front of a stitch.
        second: The second network of each pair.
        level: Probability that the interval has the mean of the population in it.

    Source: the jackknife of U-statistics, Arvesen 1969, Annals of Mathematical Statistics 40, 2076.

    Raises:
        WeightscapeError: If the lengths differ or no value is left.

    >>> found = mean_over_pairs([3, 4, 3, 5, 4, 5], "aabbcc", "bcacab")  # 1, 2 and 3, added
    >>> found.mean, round(found.stderr, 6), found.networks
    (4.0, 1.154701, 3)
    """
    import numpy

    if not len(values) == len(first) == len(second):
        raise WeightscapeError(
            f"Expected as many values as pairs, received {len(values)} values, {len(first)} first and "
            f"{len(second)} second networks."
        )
    known: dict[tuple[Hashable, Hashable], list[float]] = {}
    for value, one, other in zip(values, first, second, strict=True):
        if value is not None and not math.isnan(value):
            known.setdefault((one, other), []).append(float(value))
    if not known:
        raise WeightscapeError("Expected at least one value that is a number, received none.")
    means = numpy.array([math.fsum(entries) / len(entries) for entries in known.values()])
    firsts, seconds = {one for one, _ in known}, {other for _, other in known}
    samples = [firsts | seconds] if firsts & seconds else [firsts, seconds]
    variance, freedom = _left_out(means, list(known), samples)
    mean = float(means.mean())
    half = _quantile(level, freedom) * math.sqrt(variance) if freedom else math.nan
    stderr = math.sqrt(variance) if freedom else math.nan
    return PairMean(mean, mean - half, mean + half, stderr, len(means), len(firsts | seconds))


def _left_out(
    means: numpy.ndarray[Any, Any], pairs: Sequence[tuple[Hashable, Hashable]], samples: Sequence[set[Hashable]]
) -> tuple[float, int]:
    """Return the variance of the mean, and its degrees of freedom; 0 of these where networks are too few."""
    import numpy

    variance, freedom = 0.0, 0
    for sample in samples:
        members = dict.fromkeys(network for pair in pairs for network in pair if network in sample)
        kept = [numpy.array([network not in pair for pair in pairs]) for network in members]
        if len(members) == 1:  # nothing is known about others: the mean is one for this network
            continue
        if not all(part.any() for part in kept):
            return 0.0, 0
        leaves = numpy.array([means[part].mean() for part in kept])
        variance += (len(leaves) - 1) / len(leaves) * float(((leaves - leaves.mean()) ** 2).sum())
        freedom += len(leaves) - 1
    return variance, freedom


def _quantile(level: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))
