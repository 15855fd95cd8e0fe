"""Loss and accuracy of a model on a split."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightscape.errors import DataError
from weightscape.training.layout import memory_format, place, private_copy
from weightscape.training.result import Evaluation
from weightscape.weights.algebra import precise_dtype
from weightscape.weights.modes import evaluation_mode

if TYPE_CHECKING:
    from weightscape.data.dataset import Split


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter or buffer; the CPU if it has none."""
    tensors: Iterator[Tensor] = iter(model.state_dict().values())
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


def _check_logits(logits: Tensor, classes: int) -> None:
    if logits.ndim != 2 or logits.shape[1] < classes:
        raise DataError(
            f"Expected logits (n, {classes}) or wider, since the largest label is {classes - 1}; the model yields "
            f"{tuple(logits.shape)}. Build the model with the data set's number of classes."
        )


@torch.no_grad()
def evaluate(
    model: nn.Module, split: Split, *, batch_size: int = 512, device: str | torch.device | None = None
) -> Evaluation:
    """Evaluate a classifier with its running statistics, without augmentation.

    Args:
        model: Classifier of images ``(b, c, h, w)``; its mode and tensors are left as they are.
        split: Images and labels.
        batch_size: Images per forward pass; it does not change the result beyond rounding.
        device: Where to evaluate: where the model is by default, elsewhere on a copy.

    Raises:
        DataError: If the split is empty or has labels that the model has no logits for.
    """
    if not len(split):
        raise DataError("Expected at least one image to evaluate on, received an empty split.")
    home = device_of(model)
    # An empty tensor turns "cuda" into the number of the present GPU.
    device = home if device is None else torch.empty(0, device=device).device
    if device != home:
        model = private_copy(model, device)
    layout = memory_format(model)
    classes = int(split.labels.max()) + 1
    loss = torch.zeros((), dtype=precise_dtype(device), device=device)
    hits = torch.zeros((), dtype=torch.int64, device=device)
    with evaluation_mode(model):
        for images, labels in split.batches(batch_size):
            logits = model(place(images, device, layout))
            _check_logits(logits, classes)
            labels = labels.to(device, non_blocking=True)
            loss += functional.cross_entropy(logits, labels, reduction="sum")
            hits += (logits.argmax(1) == labels).sum()
    count = len(split)
    accuracy = hits.item() / count
    stderr = math.sqrt(accuracy * (1 - accuracy) / count)
    return Evaluation(loss=loss.item() / count, accuracy=accuracy, accuracy_stderr=stderr, count=count)
