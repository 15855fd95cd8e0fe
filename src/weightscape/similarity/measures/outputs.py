"""Whether two networks say the same: the class they predict, and the probabilities they give."""

from __future__ import annotations

import math

from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.measure import measure


@measure(
    "prediction-agreement",
    invariances=["isotropic-scale", "sample-permutation"],
    sums="outputs",
    minimum_samples=1,
    biased=False,
    cost="O(n c) for c classes",
    source="Klabunde et al. 2023, arXiv 2305.06329 (survey)",
)
def prediction_agreement(first: Tensor, second: Tensor) -> float:
    """Share of the samples for which both networks predict the same class; of equal logits the first class counts.

    Two accurate networks agree on most samples whatever they learned: see the mistakes measures.
    """
    _check_classes(first, second)
    return float((first.argmax(dim=1) == second.argmax(dim=1)).double().mean())


@measure(
    "output-kl",
    kind="distance",
    high=math.inf,
    symmetric=False,
    invariances=["sample-permutation"],
    sums="outputs",
    minimum_samples=1,
    biased=False,
    cost="O(n c) for c classes",
    source="Kullback and Leibler 1951, Annals of Mathematical Statistics 22, 79",
)
def output_kl(first: Tensor, second: Tensor, *, temperature: float = 1.0) -> float:
    """Mean over the samples of KL(p ‖ q) in nats, p of the first and q of the second network's logits.

    What is lost by taking the second network's probabilities for the first's. From log-softmax, so that confident
    networks give large numbers and no infinite ones.

    Args:
        first: Logits ``(n, c)`` of the first network.
        second: Logits ``(n, c)`` of the second network.
        temperature: Logits are divided by it.

    Raises:
        DataError: If the temperature is not positive.
    """
    _check_classes(first, second)
    if not temperature > 0:
        raise DataError(f"Expected a temperature above 0, received {temperature}.")
    one, other = ((logits / temperature).log_softmax(dim=1) for logits in (first, second))
    return max(0.0, float((one.exp() * (one - other)).sum(dim=1).mean()))


def _check_classes(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.shape[1] < 2:
        raise DataError(
            f"Expected the logits (samples, classes) of two networks with the same two or more classes, received the "
            f"shapes {tuple(first.shape)} and {tuple(second.shape)}."
        )
