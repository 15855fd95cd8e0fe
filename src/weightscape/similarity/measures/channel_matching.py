"""Correlation of units with their best counterparts (Li et al. 2015, arXiv 1511.07543).

A unit that never varies correlates with nothing; its correlations count as 0, so that a layer with dead units scores
less, also with itself.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.measure import Invariance, measure
from weightscape.similarity.overlap import JointMoments, check_varies

Sign: TypeAlias = Literal["signed", "absolute"]
_SOURCE = "Li et al. 2015, arXiv 1511.07543, section 3"
_INVARIANT: tuple[Invariance, ...] = ("isotropic-scale", "translation", "unit-permutation", "sample-permutation")


@measure(
    "semi-match",
    low=-1.0,
    symmetric=False,
    invariances=_INVARIANT,
    sums="moments",
    minimum_samples=3,
    cost="O(d²)",
    source=_SOURCE,
)
def semi_match(moments: JointMoments, *, sign: Sign = "signed") -> float:
    """Mean over the units of the second layer of the correlation with the best unit of the first.

    Several units may have the same counterpart. The best of many is positive by chance alone: read it beside the
    shuffled pairs.

    Args:
        moments: Sums over the samples.
        sign: Whether units of opposite sign count as alike (``absolute``).
    """
    return float(_signed(correlations(moments), sign).max(dim=0).values.mean())


@measure(
    "one-to-one-match",
    low=-1.0,
    invariances=_INVARIANT,
    sums="moments",
    minimum_samples=3,
    cost="O(d³)",
    source=_SOURCE,
)
def one_to_one_match(moments: JointMoments, *, sign: Sign = "signed") -> float:
    """Mean correlation of units paired one to one so that it is largest; the best assignment is exact.

    Of layers of different width, the mean is over the units of the narrower one.

    Args:
        moments: Sums over the samples.
        sign: Whether units of opposite sign count as alike (``absolute``).
    """
    gain = _signed(correlations(moments), sign).cpu().numpy()
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return float(gain[rows, columns].mean())


def correlations(moments: JointMoments) -> Tensor:
    """Return Pearson's correlation of every unit of the first layer with every one of the second ``(d1, d2)``.

    Raises:
        UndefinedMeasure: If no unit of a layer varies.
    """
    scales = []
    for name, sums, means in (
        ("first", moments.first, moments.first_mean),
        ("second", moments.second, moments.second_mean),
    ):
        variance, mean = sums.diagonal().double(), means.double().square() * moments.count
        check_varies(float(variance.sum()), float((variance + mean).sum()), name)
        varies = variance > 8 * torch.finfo(torch.float64).eps * (variance + mean)
        scales.append(torch.where(varies, variance.clamp(min=0).rsqrt(), 0.0))
    return (moments.cross.double() * scales[0][:, None] * scales[1]).clamp(-1, 1)


def _signed(values: Tensor, sign: Sign) -> Tensor:
    if sign not in get_args(Sign):
        raise DataError(f"Expected signed or absolute, received {sign!r}.")
    return values.abs() if sign == "absolute" else values
