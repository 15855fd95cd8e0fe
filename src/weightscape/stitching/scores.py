"""Score a stitched network on images that nothing was fitted on, beside the networks that it is made of."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightscape.batches import BatchSource, Forward, as_batches
from weightscape.errors import DataError
from weightscape.stitching.scored import StitchScores
from weightscape.stitching.soft_losses import soft_cross_entropy, soft_divergence
from weightscape.training.evaluation import device_of, evaluation_of
from weightscape.training.layout import memory_format
from weightscape.training.losses import check_logits
from weightscape.weights.modes import evaluation_mode

Answers: TypeAlias = nn.Module | Tensor
"""A network, or its logits ``(n, k)`` on the same images, computed before."""


def score(
    network: Answers,
    back: Answers,
    split: BatchSource,
    *,
    front: Answers | None = None,
    lossy: bool = False,
    forward: Forward | None = None,
    batch_size: int = 512,
) -> StitchScores:
    """Score a stitched network, or any network, against the back network.

    Args:
        network: The stitched network, or its logits on `split`.
        back: The network that does the rest of the work after the stitch, as it was trained, or its logits: what one
            pair of networks needs many times is computed once, with :func:`logits_of`.
        split: A split of a data set, or labelled batches in any form that come in the same order each time.
        front: The network that the stitch begins with, or its logits.
        lossy: Whether the images are a lossy copy of the original ones.
        forward: ``forward(model, batch)`` returns the outputs; by default the model is called with the inputs.
        batch_size: Images per forward pass of a split.

    Raises:
        DataError: If there are no labelled images, the batches come in another order each time, or logits and labels do
            not fit each other.
    """
    given = as_batches(split, forward=forward, passes="equal", batch_size=batch_size)
    parts = [batch.targets for batch in given if batch.labelled and isinstance(batch.targets, Tensor)]
    if not parts:
        raise DataError("Expected labelled images to score a stitch on, such as a test split; received none.")
    labels = torch.cat([part.cpu() for part in parts])
    found, reference, beginning = (
        logits_of(answers, given) if isinstance(answers, nn.Module) else answers for answers in (network, back, front)
    )
    assert found is not None
    assert reference is not None
    return scores_of(found, labels, back=reference, front=beginning, lossy=lossy)


@torch.no_grad()
def logits_of(
    network: nn.Module, split: BatchSource, *, forward: Forward | None = None, batch_size: int = 512
) -> Tensor:
    """Return the logits of a network ``(n, k)`` on the CPU, in evaluation mode; the network is left as it is.

    Args:
        network: The network.
        split: A split of a data set, or batches in any form.
        forward: ``forward(model, batch)`` returns the outputs; by default the model is called with the inputs.
        batch_size: Images per forward pass of a split.

    Raises:
        DataError: If there are no images.
    """
    given = as_batches(split, forward=forward, batch_size=batch_size).to(device_of(network), memory_format(network))
    with evaluation_mode(network):
        parts = [given.outputs(network, batch).cpu() for batch in given]
    if not parts:
        raise DataError("Expected at least one image to compute logits of, received none.")
    return torch.cat(parts)


def scores_of(
    logits: Tensor, labels: Tensor, *, back: Tensor, front: Tensor | None = None, lossy: bool = False
) -> StitchScores:
    """Score the logits of a stitched network.

    Args:
        logits: Of the stitched network ``(n, k)``.
        labels: Classes ``(n,)`` of integers, or several labels ``(n, k)`` of 0 and 1, floating.
        back: Logits of the back network ``(n, k)``.
        front: Logits of the front network ``(n, k')``.
        lossy: Whether the images are a lossy copy of the original ones.

    Raises:
        DataError: If the shapes do not fit each other, there are no images, or logits of the back network are NaN.
    """
    labels = labels.cpu()
    # In float64 no difference of float32 logits overflows.
    logits, back = logits.detach().cpu().double(), back.detach().cpu().double()
    front = None if front is None else front.detach().cpu().double()
    _check(logits, labels, back, front)
    several, count = labels.is_floating_point(), len(labels)
    right, back_right = _right(logits, labels), _right(back, labels)
    shares = right.double().mean(1)
    found = evaluation_of(
        float(_hard(logits, labels).sum()),
        float(shares.sum()),
        float(shares.square().sum()),
        count=count,
        several=several,
    )
    back_accuracy = float(back_right.double().mean())
    front_accuracy = None if front is None else float(_right(front, labels).double().mean())
    chance = _chance(labels, logits.shape[1])
    return StitchScores(
        accuracy=found.accuracy,
        accuracy_stderr=found.accuracy_stderr,
        loss=found.loss,
        front_accuracy=front_accuracy,
        back_accuracy=back_accuracy,
        front_loss=None if front is None else float(_hard(front, labels).mean()),
        back_loss=float(_hard(back, labels).mean()),
        relative_accuracy=_ratio(found.accuracy, back_accuracy),
        relative_to_front=_ratio(found.accuracy, front_accuracy or 0.0),
        chance=chance,
        above_chance=_ratio(found.accuracy - chance, back_accuracy - chance),
        cross_entropy=float(soft_cross_entropy(logits, back, several=several).mean()),
        kl=float(soft_divergence(logits, back, several=several).mean()),
        agreement=float((_answers(logits, several) == _answers(back, several)).double().mean()),
        both_right=int((right & back_right).sum()),
        only_stitched_right=int((right & ~back_right).sum()),
        only_back_right=int((~right & back_right).sum()),
        both_wrong=int((~right & ~back_right).sum()),
        count=count,
        lossy_images=lossy,
    )


def _check(logits: Tensor, labels: Tensor, back: Tensor, front: Tensor | None) -> None:
    check_logits(logits, labels)
    if front is not None:
        check_logits(front, labels)
    fits = logits.ndim == 2 and logits.shape == back.shape and len(logits) == len(labels)
    if not len(labels) or not fits or (front is not None and len(front) != len(labels)):
        shapes = " and ".join(str(tuple(one.shape)) for one in (logits, back, front) if one is not None)
        raise DataError(
            "Expected the logits (n, k) of networks on the same labelled images, received logits of shapes "
            f"{shapes} and labels of shape {tuple(labels.shape)}. Compute all of them on one split."
        )
    check_reference(back)


def check_reference(logits: Tensor) -> None:
    """Check that a network has answers to compare with.

    Raises:
        DataError: If it has none for some images: the largest of several NaN is the first, which would be an answer.
    """
    missing = int(logits.isnan().flatten(1).any(1).sum())
    if missing:
        raise DataError(
            f"Expected outputs of the back network to compare with, received NaN for {missing:,} of {len(logits):,} "
            "images: the network diverged, its file is damaged, or its inputs are not normalised as those that it was "
            "trained on. Take other weights of it, such as an earlier step."
        )


def _answers(logits: Tensor, several: bool) -> Tensor:
    """Return what a network answers: the class ``(n, 1)``, or yes or no to each question ``(n, k)``."""
    return logits > 0 if several else logits.argmax(1, keepdim=True)


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    """Return which answers are right, ``(n, 1)`` for classes and ``(n, k)`` for several labels."""
    several = labels.is_floating_point()
    return _answers(logits, several) == (labels > 0.5 if several else labels[:, None])


def _hard(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each image to its labels ``(n,)``."""
    if labels.is_floating_point():
        return functional.binary_cross_entropy_with_logits(logits, labels.double(), reduction="none").mean(1)
    return functional.cross_entropy(logits, labels.long(), reduction="none")


def _chance(labels: Tensor, outputs: int) -> float:
    if not labels.is_floating_point():
        return 1 / outputs
    positive = (labels > 0.5).double().mean(0)
    return float(torch.maximum(positive, 1 - positive).mean())


def _ratio(value: float, reference: float) -> float | None:
    return value / reference if reference > 0 else None
