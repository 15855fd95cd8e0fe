"""Loss and accuracy of a model on a split or any other batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from weightscape.batches import Batch, BatchSource, Forward, Loss, as_batches
from weightscape.devices import device_here
from weightscape.errors import DataError, Interrupted
from weightscape.training.layout import memory_format, private_copy
from weightscape.training.losses import Criterion, check_logits, criterion_for
from weightscape.training.result import Evaluation
from weightscape.weights.algebra import precise_dtype
from weightscape.weights.modes import evaluation_mode


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter or buffer; the CPU if it has none."""
    tensors: Iterator[Tensor] = iter(model.state_dict().values())
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: BatchSource,
    *,
    forward: Forward | None = None,
    loss: Loss | None = None,
    batch_size: int = 512,
    device: str | torch.device | None = None,
    criterion: Criterion | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Evaluation:
    """Evaluate a model with its running statistics, without augmentation.

    Args:
        model: The model; its mode and tensors are left as they are.
        batches: A split of a data set, or batches of inputs and labels in any form
            (:func:`~weightscape.batches.as_batches`). Read once.
        forward: ``forward(model, batch)`` returns the outputs; by default the model is called with the inputs.
        loss: ``loss(outputs, targets)``; by default the cross-entropy, or the binary cross-entropy for a split whose
            images have several labels ``(n, k)`` each.
        batch_size: Images per forward pass of a split; it does not change the result beyond rounding.
        device: Where to evaluate: where the model is by default, elsewhere on a copy.
        criterion: The loss of a recipe, instead of `loss`.
        should_stop: Asked between batches.

    Returns:
        The mean loss over samples, and the accuracy: the share of right classes where targets are classes ``(n,)`` of
        logits ``(n, classes)``, the share of right labels of all images where images have several, NaN elsewhere.

    Raises:
        DataError: If there is nothing to evaluate on, or labels that the model has no logits for.
        Interrupted: If `should_stop` said so.
    """
    home = device_of(model)
    # An empty tensor turns "cuda" into the number of the present GPU.
    device = home if device is None else torch.empty(0, device=device_here(device)).device
    if device != home:
        model = private_copy(model, device)
    given = as_batches(batches, forward=forward, loss=loss, batch_size=batch_size).to(device, memory_format(model))
    if criterion is None and given.default_loss and isinstance(labels := getattr(batches, "labels", None), Tensor):
        criterion = criterion_for(labels)
    # Loss, right answers and their squares, which the spread of answers with several labels needs.
    totals = torch.zeros(3, dtype=precise_dtype(device), device=device)
    count, several = 0, False
    with evaluation_mode(model):
        for batch in given:
            if count and should_stop is not None and should_stop():
                raise Interrupted("The evaluation was stopped; nothing of it is kept.")
            outputs = given.outputs(model, batch)
            if given.default_loss and batch.labelled:
                check_logits(outputs, batch.targets)
            targets = batch.targets
            # Before the loss: one of the user's own may write over what it gets.
            hits = _hits(outputs, batch) if criterion is None else criterion.hits(outputs, targets)
            batch_loss = (
                given.loss(outputs, batch, reduction="sum")
                if criterion is None
                else criterion.evaluation_loss(outputs, targets)
            )
            several = several or hits.is_floating_point()
            hits = hits.to(totals.dtype)
            totals += torch.stack([batch_loss.to(totals.dtype), hits.sum(), hits.square().sum()])
            count += batch.count
    if not count:
        raise DataError("Expected at least one image to evaluate on, received an empty split.")
    return evaluation_of(*totals.tolist(), count=count, several=several)


def evaluation_of(loss: float, hits: float, squares: float, *, count: int, several: bool) -> Evaluation:
    """Return an evaluation from sums over images.

    Args:
        loss: Sum of the losses.
        hits: Sum of the shares of right answers.
        squares: Sum of their squares.
        count: Number of images.
        several: Whether images have several labels each.
    """
    accuracy = hits / count
    # For classes this is the binomial standard error; the labels of one image are not independent of each other.
    variance = squares / count - accuracy**2 if several else accuracy * (1 - accuracy)
    stderr = math.sqrt(variance / count) if not variance < 0 else 0.0
    return Evaluation(loss=loss / count, accuracy=accuracy, accuracy_stderr=stderr, count=count)


def _hits(outputs: Tensor, batch: Batch) -> Tensor:
    """Return which samples are correctly classified ``(n,)``; NaN where targets are no classes."""
    labels = batch.targets
    if isinstance(labels, Tensor) and not labels.is_floating_point() and (outputs.ndim, labels.ndim) == (2, 1):
        return outputs.argmax(1) == labels
    return torch.full((batch.count,), math.nan, device=outputs.device)
