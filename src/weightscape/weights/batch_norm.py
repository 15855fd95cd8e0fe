"""Batch-norm statistics after a change of weights.

Weights that were moved, averaged or interpolated no longer fit the running statistics they came with. What to do about it
is a measured choice (``none`` or ``recalibrate``), never a silent one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

BatchNormPolicy: TypeAlias = Literal["none", "recalibrate"]

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """Return the batch-norm layers of a model that track running statistics."""
    return [module for module in model.modules() if isinstance(module, _BATCH_NORM) and module.running_mean is not None]


@torch.no_grad()
def recalibrate(model: nn.Module, inputs: Iterable[Tensor]) -> int:
    """Replace the running statistics of `model`, in place, by cumulative means over the given inputs.

    Runs forward passes in training mode without gradients; each layer's momentum and the model's mode are restored.
    A model without batch norm is left alone and costs nothing.

    Args:
        model: The model whose statistics are replaced.
        inputs: Batches ``(n, ...)`` of inputs as the model takes them.

    Returns:
        The number of batches used.
    """
    layers = batch_norms(model)
    if not layers:
        return 0
    was_training = model.training
    momenta = [layer.momentum for layer in layers]
    frozen = [module for module in model.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    model.train()
    for module in frozen:
        module.eval()
    count = 0
    try:
        for batch in inputs:
            model(batch)
            count += 1
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.train(was_training)
    return count
