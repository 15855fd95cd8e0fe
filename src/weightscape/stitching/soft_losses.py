"""Cross-entropy to the outputs of another network, from logits to the end, so that saturated ones give no NaN."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def soft_cross_entropy(logits: Tensor, teacher: Tensor, *, temperature: float = 1.0, several: bool = False) -> Tensor:
    """Return the cross-entropy of each image to a teacher's outputs ``(n,)``, in nats; differentiable.

    For classes it is ``-sum_c p_c log q_c`` with ``p = softmax(teacher / T)``, ``q = softmax(logits / T)``. It is not
    multiplied by T squared.

    Args:
        logits: Outputs of the student ``(n, k)``.
        teacher: Outputs of the teacher ``(n, k)``; no gradient flows into them.
        temperature: T, which divides the logits of both.
        several: Whether the k outputs are the answers to k questions of yes or no: then the mean over them of the
            binary cross-entropies.
    """
    logits, teacher = logits / temperature, teacher.detach() / temperature
    if several:
        return functional.binary_cross_entropy_with_logits(logits, teacher.sigmoid(), reduction="none").mean(1)
    shares = teacher.softmax(1)
    # A share that is 0 has a logarithm that may be minus infinity; their product is 0, never NaN.
    return -torch.where(shares > 0, shares * logits.log_softmax(1), shares.new_zeros(())).sum(1)


def soft_divergence(logits: Tensor, teacher: Tensor, *, temperature: float = 1.0, several: bool = False) -> Tensor:
    """Return the Kullback-Leibler divergence from the outputs of a teacher, of each image ``(n,)``, in nats.

    It is :func:`soft_cross_entropy` without the entropy of the teacher, hence 0 for equal outputs.

    Args:
        logits: Outputs of the student ``(n, k)``.
        teacher: Outputs of the teacher ``(n, k)``.
        temperature: Divides the logits of both.
        several: Whether the outputs are the answers to k questions of yes or no.
    """
    least = soft_cross_entropy(teacher, teacher, temperature=temperature, several=several)
    found = soft_cross_entropy(logits, teacher, temperature=temperature, several=several) - least
    return found.clamp(min=0)  # rounding may leave less than nothing
