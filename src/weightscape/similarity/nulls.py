"""What a measure says of representations that have nothing to do with each other: pairs shuffled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from weightscape.errors import DataError
from weightscape.results import Result
from weightscape.seeds import stream
from weightscape.similarity.measure import Measure, find_measure
from weightscape.similarity.samples import PairedSamples


@dataclass(frozen=True)
class Null(Result):
    """A measure beside its values for shuffled pairs.

    Attributes:
        value: The measure of the pairs as they are.
        mean: Mean over shuffles.
        low: Their 2.5 % quantile.
        high: Their 97.5 % quantile.
        p_value: Share of shuffles in which the representations are at least as alike, the pairs as they are counted as
            one of them: never 0.
        draws: Number of shuffles.
        count: Number of samples.
    """

    value: float
    mean: float
    low: float
    high: float
    p_value: float
    draws: int
    count: int


def shuffled_pairs(
    measure: Measure | str, first: Any, second: Any, *, draws: int = 200, seed: int = 0, **options: Any
) -> Null:
    """Return a measure beside its values after the samples of the second representation changed places at random.

    The shuffle keeps each layer's own geometry and width, and destroys what they have in common: the null that a biased
    measure must be read beside. No forward pass is made, and decompositions are made once.

    Args:
        measure: A measure or its name.
        first: Activations ``(n, d)``, a Gram matrix or a geometry.
        second: The same of the other layer, on the same samples in the same order.
        draws: Shuffles.
        seed: Draws them.
        options: Options of the measure.

    Raises:
        DataError: If there is no shuffle, or the measure needs labels.
    """
    found = find_measure(measure) if isinstance(measure, str) else measure
    if draws < 1:
        raise DataError(f"Expected at least one shuffle, received {draws}.")
    samples = PairedSamples(found, first, second, options)
    value = samples.value()
    random = stream(seed, "subset", "null")
    values = torch.tensor(
        [samples.shuffled(torch.randperm(samples.count, generator=random)) for _ in range(draws)], dtype=torch.float64
    )
    alike = values >= value - 1e-12 if found.kind == "similarity" else values <= value + 1e-12
    low, high = (float(values.quantile(share)) for share in (0.025, 0.975))
    return Null(value, float(values.mean()), low, high, (1 + int(alike.sum())) / (draws + 1), draws, samples.count)
