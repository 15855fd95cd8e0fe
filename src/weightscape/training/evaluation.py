"""Loss and accuracy of a model on a split or any other batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weightscape.batches import Batch, BatchSource, Forward, Loss, as_batches
from weightscape.errors import DataError
from weightscape.training.layout import memory_format, private_copy
from weightscape.training.result import Evaluation
from weightscape.weights.algebra import precise_dtype
from weightscape.weights.modes import evaluation_mode

if TYPE_CHECKING:
    pass


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter or buffer; the CPU if it has none."""
    tensors: Iterator[Tensor] = iter(model.state_dict().values())
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


def _check_logits(logits: Tensor, batch: Batch) -> None:
    labels = batch.targets
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.ndim != 1 or not len(labels):
        return
    classes = int(labels.max()) + 1
    if logits.ndim != 2 or logits.shape[1] < classes:
        raise DataError(
            f"Expected logits (n, {classes}) or wider, since the largest label is {classes - 1}; the model yields "
            f"{tuple(logits.shape)}. Build the model with the data set's number of classes."
        )


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: BatchSource,
    *,
    forward: Forward | None = None,
    loss: Loss | None = None,
    batch_size: int = 512,
    device: str | torch.device | None = None,
) -> Evaluation:
    """Evaluate a model with its running statistics, without augmentation.

    Args:
        model: The model; its mode and tensors are left as they are.
        batches: A split of a data set, or batches of inputs and labels in any form (:func:`weightscape.as_batches`).
            Read once.
        forward: ``forward(model, batch)`` returns the outputs; by default the model is called with the inputs.
        loss: ``loss(outputs, targets)``; the cross-entropy by default.
        batch_size: Images per forward pass of a split; it does not change the result beyond rounding.
        device: Where to evaluate: where the model is by default, elsewhere on a copy.

    Returns:
        The mean loss over samples, and the accuracy where targets are classes ``(n,)`` of logits ``(n, classes)``; NaN
        elsewhere.

    Raises:
        DataError: If there is nothing to evaluate on, or labels that the model has no logits for.
    """
    home = device_of(model)
    # An empty tensor turns "cuda" into the number of the present GPU.
    device = home if device is None else torch.empty(0, device=device).device
    if device != home:
        model = private_copy(model, device)
    given = as_batches(batches, forward=forward, loss=loss, batch_size=batch_size).to(device, memory_format(model))
    total = torch.zeros((), dtype=precise_dtype(device), device=device)
    hits: Tensor | float = torch.zeros((), dtype=torch.int64, device=device)
    count = 0
    with evaluation_mode(model):
        for batch in given:
            outputs = given.outputs(model, batch)
            if given.default_loss:
                _check_logits(outputs, batch)
            total += given.loss(outputs, batch, reduction="sum")
            hits = hits + _hits(outputs, batch)
            count += batch.count
    if not count:
        raise DataError("Expected at least one image to evaluate on, received an empty split.")
    accuracy = float(hits) / count
    stderr = math.sqrt(accuracy * (1 - accuracy) / count)
    return Evaluation(loss=total.item() / count, accuracy=accuracy, accuracy_stderr=stderr, count=count)


def _hits(outputs: Tensor, batch: Batch) -> Tensor | float:
    """Return the number of correctly classified samples; NaN where targets are no classes."""
    labels = batch.targets
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.shape != (len(outputs),):
        return math.nan
    return (outputs.argmax(1) == labels).sum() if outputs.ndim == 2 else math.nan
