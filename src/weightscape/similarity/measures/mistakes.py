"""Overlap of two classifiers' mistakes as measures; the whole table is ``similarity.mistakes.shared_mistakes``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.measure import UndefinedMeasure, measure
from weightscape.similarity.mistakes import SharedMistakes, shared_mistakes


@measure(
    "mistakes-jaccard",
    invariances=["isotropic-scale", "sample-permutation"],
    sums="outputs",
    minimum_samples=1,
    biased=False,
    cost="O(n c) for c classes",
    source="Jaccard 1901; as a measure of models, Klabunde et al. 2023, arXiv 2305.06329",
)
def mistakes_jaccard(first: Tensor, second: Tensor, *, labels: Any) -> float:
    """Samples that both networks misclassify over samples that either does.

    It grows with the error rates alone: what independent mistakes would give is in ``shared_mistakes``.

    Args:
        first: Logits ``(n, c)`` of the first network.
        second: Logits ``(n, c)`` of the second network.
        labels: The right classes ``(n,)``.

    Raises:
        UndefinedMeasure: If neither network makes a mistake.
    """
    found = _compared(first, second, labels).jaccard
    if found is None:
        raise UndefinedMeasure("Neither network makes a mistake, so that there is no overlap. Take more samples.")
    return found


@measure(
    "mistakes-kappa",
    low=-1.0,
    invariances=["isotropic-scale", "sample-permutation"],
    sums="outputs",
    minimum_samples=1,
    biased=False,
    cost="O(n c) for c classes",
    source="Geirhos et al. 2020, arXiv 2006.16736 (error consistency)",
)
def mistakes_kappa(first: Tensor, second: Tensor, *, labels: Any) -> float:
    """Cohen's kappa of being right or wrong: 0 for independent mistakes, 1 for mistakes on the same samples.

    Args:
        first: Logits ``(n, c)`` of the first network.
        second: Logits ``(n, c)`` of the second network.
        labels: The right classes ``(n,)``.

    Raises:
        UndefinedMeasure: If a network is always right, or always wrong.
    """
    found = _compared(first, second, labels).kappa
    if found is None:
        raise UndefinedMeasure(
            "A network that is always right, or always wrong, says nothing about which samples are hard: kappa is 0/0. "
            "Take more samples, or prediction-agreement."
        )
    return found


def _compared(first: Tensor, second: Tensor, labels: Any) -> SharedMistakes:
    if first.shape != second.shape:
        raise DataError(
            f"Expected the logits of two networks for the same samples and classes, received the shapes "
            f"{tuple(first.shape)} and {tuple(second.shape)}."
        )
    right = torch.as_tensor(labels, device=first.device)
    return shared_mistakes(first.argmax(dim=1), second.argmax(dim=1).to(first.device), right)
