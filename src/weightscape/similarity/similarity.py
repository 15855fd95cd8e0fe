"""How alike two representations are: one number of any measure, with its interval and its null where asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weightscape.results import Result
from weightscape.similarity.intervals import IntervalMethod, interval_of
from weightscape.similarity.measure import Measure, find_measure
from weightscape.similarity.nulls import shuffled_pairs
from weightscape.similarity.samples import PairedSamples
from weightscape.similarity.settings import chosen

_NO_INTERVAL: tuple[float | None, ...] = (None, None, None)
_NO_NULL: tuple[float | None, ...] = (None, None, None, None)


@dataclass(frozen=True)
class Similarity(Result):
    """How alike two representations are; ``float`` of it is the value.

    Attributes:
        measure: Name of the measure.
        kind: Whether a large value means alike (``similarity``) or far apart (``distance``).
        value: The measure.
        low: Lower end of the interval; None where none was asked for.
        high: Upper end of the interval.
        stderr: Standard error of the value.
        interval: How the interval was made.
        null: Mean of the measure over shuffled pairs: what unrelated layers of these widths would score.
        null_low: Its 2.5 % quantile.
        null_high: Its 97.5 % quantile.
        p_value: Share of the shuffles that are at least as alike.
        biased: Whether the value depends on the number of samples and is no estimate of that for infinitely many.
        count: Number of samples.
    """

    measure: str
    kind: str
    value: float
    low: float | None
    high: float | None
    stderr: float | None
    interval: str | None
    null: float | None
    null_low: float | None
    null_high: float | None
    p_value: float | None
    biased: bool
    count: int

    def __float__(self) -> float:
        return self.value


def similarity_of(
    first: Any,
    second: Any,
    measure: Measure | str | Mapping[str, Any] = "linear-cka-debiased",
    *,
    interval: IntervalMethod | None = None,
    null: int = 0,
    level: float = 0.95,
    seed: int = 0,
    **options: Any,
) -> Similarity:
    """Compare two representations of the same samples.

    Args:
        first: Activations ``(n, d1)`` as a tensor or array, row i of sample i; or a Gram matrix of a probe set.
        second: Activations ``(n, d2)`` of the same samples in the same order, or their Gram matrix.
        measure: Name of a measure, or a mapping with ``name`` and options;
            ``weightscape.similarity.measure.measure_names()`` lists the names.
        interval: How to make an interval for other samples of the same kind; None for none.
        null: Number of shuffles of the pairs to set the value beside; 0 for none.
        level: Probability that the interval is to have.
        seed: Draws shuffles and subsets.
        options: Options of the measure.

    Raises:
        DataError: If the representations are not of the same samples, or too few for the measure, or not finite.
        UndefinedMeasure: If the measure has no value, as for a layer that is constant.

    >>> import torch
    >>> x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    >>> found = similarity_of(x, 3 * x.flip(1) + 1, "linear-cka")
    >>> round(float(found), 6), found.kind
    (1.0, 'similarity')
    """
    if isinstance(measure, Mapping):
        (choice,) = chosen(measure)
        measure, options = choice.name, {**choice.options, **options}
    found = find_measure(measure) if isinstance(measure, str) else measure
    samples = PairedSamples(found, first, second, options)
    both = samples.geometries or (first, second)
    value, found_interval, found_null = samples.value(), _NO_INTERVAL, _NO_NULL
    if interval:
        ends = interval_of(found, *both, method=interval, level=level, seed=seed, **options)
        found_interval = (ends.low, ends.high, ends.stderr)
    if null:
        drawn = shuffled_pairs(found, *both, draws=null, seed=seed, **options)
        found_null = (drawn.mean, drawn.low, drawn.high, drawn.p_value)
    low, high, stderr = found_interval
    mean, null_low, null_high, p_value = found_null
    return Similarity(
        measure=found.name,
        kind=found.kind,
        value=value,
        low=low,
        high=high,
        stderr=stderr,
        interval=interval,
        null=mean,
        null_low=null_low,
        null_high=null_high,
        p_value=p_value,
        biased=found.biased,
        count=samples.count,
    )
