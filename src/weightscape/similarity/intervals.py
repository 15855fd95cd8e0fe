"""Intervals of measures for other samples of the same kind, from what is there: no further forward pass.

Drawing samples with replacement (the plain bootstrap) puts the same sample into a data set several times. A sample is
like itself in every network, so duplicates look like agreement: for independent noise with n = 200 and d = 1000 the
debiased CKA is -0.004 and its bootstrap has the mean 0.83. Here samples are only ever left out.

Samples are one source of uncertainty; other networks of the same kind are another, and usually the larger one. For
those see :func:`~weightscape.similarity.networks.mean_over_pairs`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from scipy.stats import t as student
from torch import Tensor

from weightscape.errors import DataError
from weightscape.results import Result
from weightscape.seeds import stream
from weightscape.similarity.leave_one_out import LEFT_OUT
from weightscape.similarity.measure import Measure, UndefinedMeasure, find_measure
from weightscape.similarity.samples import PairedSamples

IntervalMethod: TypeAlias = Literal["jackknife", "subsampling"]

_GROUPS = 20


@dataclass(frozen=True)
class Interval(Result):
    """An interval of a measure.

    Attributes:
        value: The measure of all samples.
        low: Lower end of the interval.
        high: Upper end of the interval.
        stderr: Standard error of the value.
        level: Probability that intervals made like this one hold the expectation of the measure.
        method: How it was made.
        parts: Number of samples or groups left out in turn, or of subsets drawn.
        count: Number of samples.
        biased: Whether the expectation depends on the number of samples: the interval then is about that expectation,
            not about the value for infinitely many samples.
    """

    value: float
    low: float
    high: float
    stderr: float
    level: float
    method: str
    parts: int
    count: int
    biased: bool


def interval_of(
    measure: Measure | str,
    first: Any,
    second: Any,
    *,
    method: IntervalMethod = "jackknife",
    level: float = 0.95,
    draws: int = 200,
    seed: int = 0,
    **options: Any,
) -> Interval:
    """Return a measure of two representations with an interval for other samples of the same kind.

    ``jackknife``: the measure without each sample in turn, for linear CKA in O(n²) altogether; other measures leave out
    each of 20 random groups. The quantiles are Student's t. For unrelated layers the standard error is up to √2 too
    large (the statistic is degenerate), so that intervals are too wide rather than too narrow.

    ``subsampling``: the measure of random halves of the samples; the quantiles of what they deviate by are those of the
    interval. Only for measures whose expectation does not depend on the number of samples.

    Args:
        measure: A measure or its name.
        first: Activations ``(n, d)``, a Gram matrix or a geometry.
        second: The same of the other layer, on the same samples in the same order.
        method: How.
        level: Probability that the interval is to have.
        draws: Subsets drawn; for subsampling alone.
        seed: Draws the groups or the subsets.
        options: Options of the measure.

    Sources: Efron and Stein 1981, Annals of Statistics 9, 586 (jackknife); Shao and Wu 1989, Annals of Statistics 17,
    1176 (deleting groups); Politis and Romano 1994, Annals of Statistics 22, 2031 (subsampling).

    Raises:
        DataError: If there are too few samples, or the measure does not allow the method.
    """
    found = find_measure(measure) if isinstance(measure, str) else measure
    if not 0 < level < 1:
        raise DataError(f"Expected a level between 0 and 1, such as 0.95, received {level}.")
    samples = PairedSamples(found, first, second, options)
    value = samples.value()
    if method == "jackknife":
        ends = _jackknife(samples, value, level=level, seed=seed)
    elif method == "subsampling":
        ends = _subsampling(samples, value, level=level, draws=draws, seed=seed)
    else:
        raise DataError(
            f"Expected jackknife or subsampling, received {method!r}; a bootstrap of samples is wrong here."
        )
    low, high, stderr, parts = ends
    return Interval(
        value, max(low, found.low), min(high, found.high), stderr, level, method, parts, samples.count, found.biased
    )


def _jackknife(samples: PairedSamples, value: float, *, level: float, seed: int) -> tuple[float, float, float, int]:
    _check_left(samples, samples.count - 1)
    closed = LEFT_OUT.get(samples.measure.name)
    if closed is not None and samples.geometries is not None:
        values = closed(*samples.geometries).cpu()
    else:
        values = _without_groups(samples, seed=seed)
    if bool(values.isnan().any()):
        raise UndefinedMeasure(
            f"Without some of the {samples.count} samples a layer is constant, so that there is no jackknife. "
            "Take more samples."
        )
    parts = len(values)
    stderr = math.sqrt((parts - 1) / parts * float((values - values.mean()).square().sum()))
    reach = float(student.ppf((1 + level) / 2, parts - 1)) * stderr
    return value - reach, value + reach, stderr, parts


def _without_groups(samples: PairedSamples, *, seed: int) -> Tensor:
    """Return the measure without each of some random groups of samples."""
    order = torch.randperm(samples.count, generator=stream(seed, "subset", "jackknife"))
    groups = order.tensor_split(min(_GROUPS, samples.count))
    _check_left(samples, samples.count - max(map(len, groups)))
    kept = torch.ones(samples.count, dtype=torch.bool)
    values = []
    for group in groups:
        kept[group] = False
        values.append(samples.of_rows(kept.nonzero()[:, 0]))
        kept[group] = True
    return torch.tensor(values, dtype=torch.float64)


def _subsampling(
    samples: PairedSamples, value: float, *, level: float, draws: int, seed: int
) -> tuple[float, float, float, int]:
    if samples.measure.biased:
        raise DataError(
            f"The expectation of {samples.measure.name!r} depends on the number of samples, so halves of them say "
            "little about the whole. Take the jackknife, or a measure without that bias such as linear-cka-debiased."
        )
    if draws < 20:
        raise DataError(f"Expected at least 20 draws, received {draws}.")
    size = samples.count // 2
    _check_left(samples, size)
    random = stream(seed, "subset", "subsampling")
    values = torch.tensor(
        [samples.of_rows(torch.randperm(samples.count, generator=random)[:size].sort().values) for _ in range(draws)],
        dtype=torch.float64,
    )
    # a part of n samples deviates from the whole by (1/m − 1/n), the whole from the population by 1/n
    deviations = (values - value) * math.sqrt(size / (samples.count - size))
    tail = (1 - level) / 2
    high, low = (float(deviations.quantile(share)) for share in (tail, 1 - tail))
    return value - low, value - high, float(deviations.std()), draws


def _check_left(samples: PairedSamples, left: int) -> None:
    least = samples.measure.minimum_samples
    if left < max(least, 2):
        raise DataError(
            f"The interval leaves {left} of {samples.count} samples, and {samples.measure.name!r} needs at least "
            f"{least}. Take more samples."
        )
