"""Loss and mistakes of a network on every sample, so that networks are compared on the same samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightscape.batches import Batch, Batches, BatchSource, Forward, Loss, as_batches
from weightscape.data.dataset import Dataset
from weightscape.errors import DataError
from weightscape.training.evaluation import device_of
from weightscape.training.layout import memory_format
from weightscape.weights.modes import evaluation_mode


@dataclass(frozen=True)
class Scores:
    """What one network does on each of n samples, on the CPU.

    Attributes:
        losses: Loss of each sample ``(n,)``, float64.
        predictions: Predicted class ``(n,)``; None where the targets are no classes.
        labels: Right class ``(n,)``; None where the targets are no classes.
    """

    losses: Tensor
    predictions: Tensor | None
    labels: Tensor | None

    @property
    def mistakes(self) -> Tensor | None:
        """Whether each sample is misclassified ``(n,)``; None where the targets are no classes."""
        if self.predictions is None or self.labels is None:
            return None
        return self.predictions != self.labels


def comparable(batches: BatchSource, forward: Forward | None = None) -> Batches:
    """Return batches that are the same, in the same order, each time they are read.

    Raises:
        DataError: If they are not, or a whole data set is given.
    """
    if isinstance(batches, Dataset):
        raise DataError(
            f"A data set has several splits, and which of them is measured on must be said: give its split test, train "
            f"or validation, such as data.test of {batches.name!r}."
        )
    return as_batches(batches, forward=forward, passes="equal", batch_size=250)


@torch.no_grad()
def score(model: nn.Module, batches: Batches, loss: Loss | None = None) -> Scores:
    """Return the loss of a network on every sample, and its predictions, in evaluation mode.

    Args:
        model: The network; its mode and tensors are left as they are.
        batches: What to measure on, as :func:`comparable` returns it.
        loss: ``loss(outputs, targets)`` returns one value per sample ``(n,)``; the cross-entropy by default.

    Raises:
        DataError: If there are no samples, or outputs, targets and loss do not fit each other.
    """
    given = batches.to(device_of(model), memory_format(model))
    losses, predictions, labels = [], [], []
    with evaluation_mode(model):
        for batch in given:
            outputs = given.outputs(model, batch)
            losses.append(_losses(outputs, batch, loss).cpu().double())
            targets = batch.targets
            if outputs.ndim == 2 and _are_classes(targets):
                predictions.append(outputs.argmax(1).cpu())
                labels.append(targets.cpu())
    if not losses:
        raise DataError("Expected at least one sample to measure the loss on, received none.")
    if len(predictions) < len(losses):
        return Scores(torch.cat(losses), None, None)
    return Scores(torch.cat(losses), torch.cat(predictions), torch.cat(labels))


def _are_classes(targets: object) -> bool:
    return isinstance(targets, Tensor) and targets.ndim == 1 and not targets.is_floating_point()


def _losses(outputs: Tensor, batch: Batch, loss: Loss | None) -> Tensor:
    if loss is None:
        return _cross_entropies(outputs, batch)
    found = loss(outputs, batch.targets)
    if not isinstance(found, Tensor) or found.shape != (batch.count,):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise DataError(
            f"Expected one loss per sample, shape ({batch.count},), received {shape}. Losses of torch need "
            "reduction='none', and a mean over all axes but the first."
        )
    return found


def _cross_entropies(outputs: Tensor, batch: Batch) -> Tensor:
    targets = batch.targets
    fits = outputs.ndim == 2 and batch.labelled and _are_classes(targets)
    if not fits or (len(targets) and int(targets.max()) >= outputs.shape[1]):
        raise DataError(
            f"The cross-entropy needs logits (b, classes) and the class of each sample (b,), received outputs "
            f"{tuple(outputs.shape)} and targets {_described(targets)}. Give such batches, or a loss of your own: "
            "loss=function(outputs, targets), which returns one number per sample."
        )
    return functional.cross_entropy(outputs, targets.long(), reduction="none")


def _described(targets: object) -> str:
    if not isinstance(targets, Tensor):
        return f"of type {type(targets).__name__}"
    largest = f" up to {int(targets.max())}" if _are_classes(targets) and len(targets) else ""
    return f"{tuple(targets.shape)} of {targets.dtype}{largest}"
