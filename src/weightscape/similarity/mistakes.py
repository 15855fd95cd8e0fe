"""Whether two classifiers make the same mistakes, beside what chance would give.

Two accurate networks agree on most images whatever they learned, so agreement says little by itself. It is set beside
what two networks of these accuracies would share if their mistakes were independent of each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.results import Result

if TYPE_CHECKING:
    from weightscape.results import Table

_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class SharedMistakes(Result):
    """The mistakes of two classifiers on the same n samples.

    Attributes:
        both_wrong: Samples that both misclassify.
        only_first_wrong: Samples that the first alone misclassifies.
        only_second_wrong: Samples that the second alone misclassifies.
        both_right: Samples that both classify correctly.
        count: All samples.
        both_wrong_expected: Expected number of shared mistakes if mistakes were independent, given how many each makes.
        both_wrong_low: Lower end of the central 95 % of that number, by the hypergeometric distribution.
        both_wrong_high: Upper end of it.
        jaccard: Shared mistakes over mistakes of either, in [0, 1]; None where there are none.
        jaccard_stderr: Its binomial standard error.
        jaccard_expected: The same for the expected number of shared mistakes.
        kappa: Error consistency (arXiv 2006.16736): 0 for independent mistakes, 1 where both fail on the same samples,
            negative where they avoid each other's; None where one network makes no mistake, or only mistakes.
        kappa_stderr: Its standard error, by the delta method.
        kappa_low: Lower end of the 95 % interval of kappa.
        kappa_high: Upper end of it.
        agreement: Share of samples for which both predict the same class.
        same_wrong_class: Among the shared mistakes, the share with the same wrong class; None without any.
    """

    both_wrong: int
    only_first_wrong: int
    only_second_wrong: int
    both_right: int
    count: int
    both_wrong_expected: float
    both_wrong_low: int
    both_wrong_high: int
    jaccard: float | None
    jaccard_stderr: float | None
    jaccard_expected: float | None
    kappa: float | None
    kappa_stderr: float | None
    kappa_low: float | None
    kappa_high: float | None
    agreement: float
    same_wrong_class: float | None

    def table(self) -> Table:
        """Return the two by two table: what the first network does by what the second does."""
        import pandas

        rows = [("right", self.both_right, self.only_second_wrong), ("wrong", self.only_first_wrong, self.both_wrong)]
        return pandas.DataFrame(rows, columns=["first", "second right", "second wrong"])


def shared_mistakes(first: Tensor, second: Tensor, labels: Tensor) -> SharedMistakes:
    """Compare the mistakes of two classifiers on the same samples.

    Args:
        first: Classes that the first network predicts ``(n,)``.
        second: Classes that the second network predicts ``(n,)``.
        labels: The right classes ``(n,)``.

    Raises:
        DataError: If the three are not of one length, or empty.
    """
    if not len(labels) or not first.shape == second.shape == labels.shape:
        raise DataError(
            "Expected the predictions of two networks and the labels of the same samples, received shapes "
            f"{tuple(first.shape)}, {tuple(second.shape)} and {tuple(labels.shape)}."
        )
    wrong = first != labels, second != labels
    both = int((wrong[0] & wrong[1]).sum())
    ones = [int(side.sum()) for side in wrong]
    count, union = len(labels), sum(ones) - both
    expected = ones[0] * ones[1] / count
    low, high = _independent(both_of=ones, count=count)
    jaccard = both / union if union else None
    same = int((wrong[0] & (first == second)).sum())
    return SharedMistakes(
        both_wrong=both,
        only_first_wrong=ones[0] - both,
        only_second_wrong=ones[1] - both,
        both_right=count - union,
        count=count,
        both_wrong_expected=expected,
        both_wrong_low=low,
        both_wrong_high=high,
        jaccard=jaccard,
        jaccard_stderr=None if jaccard is None else math.sqrt(jaccard * (1 - jaccard) / union),
        jaccard_expected=expected / (sum(ones) - expected) if union else None,
        agreement=float((first == second).double().mean()),
        same_wrong_class=same / both if both else None,
        **_consistency(torch.tensor([[count - union, ones[1] - both], [ones[0] - both, both]], dtype=torch.float64)),
    )


def _independent(*, both_of: list[int], count: int) -> tuple[int, int]:
    """Return the central 95 % of the number of shared mistakes of two sets of mistakes drawn independently."""
    from scipy.stats import hypergeom

    low, high = hypergeom.ppf([0.025, 0.975], count, *both_of)
    return int(low), int(high)


def _consistency(counts: Tensor) -> dict[str, Any]:
    """Return kappa of a table of counts ``(2, 2)`` with its standard error and interval.

    The error is that of the delta method for a multinomial table (Fleiss, Cohen and Everitt 1969, for Cohen's kappa).
    """
    shares = counts / counts.sum()
    rows, columns = shares.sum(dim=1), shares.sum(dim=0)
    observed, expected = float(shares.trace()), float(rows @ columns)
    names = ("kappa", "kappa_stderr", "kappa_low", "kappa_high")
    if min(float(rows.min()), float(columns.min())) == 0:
        return dict.fromkeys(names)
    kappa = (observed - expected) / (1 - expected)
    by_expected = -(1 - observed) / (1 - expected) ** 2
    gradient = torch.eye(2, dtype=torch.float64) / (1 - expected) + by_expected * (columns[:, None] + rows[None, :])
    variance = float((shares * gradient**2).sum() - (shares * gradient).sum() ** 2) / float(counts.sum())
    stderr = math.sqrt(max(variance, 0.0))
    values = (kappa, stderr, max(-1.0, kappa - _NORMAL_95 * stderr), min(1.0, kappa + _NORMAL_95 * stderr))
    return dict(zip(names, values, strict=True))
