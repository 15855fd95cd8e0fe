"""How far apart two layers are unit by unit, with nothing matched."""

from __future__ import annotations

import math

from weightscape.errors import DataError
from weightscape.similarity.measure import measure
from weightscape.similarity.overlap import JointMoments


@measure(
    "l2",
    kind="distance",
    high=math.inf,
    invariances=["sample-permutation"],
    sums="moments",
    minimum_samples=1,
    biased=False,
    cost="O(d)",
    source="Csiszárik et al. 2021, arXiv 2110.14633 (the l2 of its published code)",
)
def squared_difference(moments: JointMoments) -> float:
    """Mean squared difference over all samples and units; no root, unit i with unit i.

    Raises:
        DataError: If the layers have different numbers of units.
    """
    if moments.first.shape != moments.second.shape:
        raise DataError(
            f"The measure 'l2' compares unit with unit, received {len(moments.first)} and {len(moments.second)} units. "
            "Take a measure that does not: linear-cka-debiased, procrustes, linear-regression."
        )
    spread = moments.first.trace() + moments.second.trace() - 2 * moments.cross.trace()
    means = (moments.first_mean - moments.second_mean).square().sum()
    return max(0.0, float(spread / moments.count + means)) / len(moments.first)
