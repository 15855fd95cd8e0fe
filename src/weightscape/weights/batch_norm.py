"""Batch-norm statistics after a change of weights.

Weights that were moved, averaged or interpolated no longer fit the running statistics they came with. What to do about
it is a measured choice (``none`` or ``recalibrate``), never a silent one.
"""

from __future__ import annotations

import torch
from torch import nn

from weightscape.batches import Batches, BatchSource, Forward, as_batches
from weightscape.errors import ModelError
from weightscape.weights.modes import modes_restored

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def batch_norms(model: nn.Module) -> list[_BATCH_NORM]:
    """Return the batch-norm layers of a model that track running statistics."""
    return [module for module in model.modules() if isinstance(module, _BATCH_NORM) and module.running_mean is not None]


@torch.no_grad()
def recalibrate(model: nn.Module, batches: BatchSource, *, forward: Forward | None = None) -> int:
    """Replace the running statistics of `model`, in place, by cumulative means over the given batches.

    Every batch counts equally: a running mean becomes the mean of the batches' means, a running variance the mean of
    their unbiased variances. The batch norms alone run in training mode, so that dropout stays off; momenta and modes
    are restored. A model without batch norm is left alone and costs nothing.

    Args:
        model: The model whose statistics are replaced. It keeps its statistics when a forward pass fails.
        batches: Batches with inputs, in any form (:func:`~weightscape.batches.as_batches`). Read once.
        forward: ``forward(model, batch)`` runs the model; by default it is called with the inputs.

    Returns:
        The number of batches used.

    Raises:
        ModelError: If there are no batches.
    """
    layers = batch_norms(model)
    if not layers:
        return 0
    momenta = [layer.momentum for layer in layers]
    statistics = [{name: buffer.clone() for name, buffer in layer.named_buffers()} for layer in layers]
    device = next((tensor.device for tensor in model.state_dict().values()), None)
    given = as_batches(batches, forward=forward).to(device or "cpu")
    try:
        with modes_restored(model):
            return _accumulate(model, layers, given)
    except BaseException:
        for layer, saved in zip(layers, statistics, strict=True):
            layer.load_state_dict(saved, strict=False)
        raise
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _accumulate(model: nn.Module, layers: list[_BATCH_NORM], batches: Batches) -> int:
    model.eval()
    for layer in layers:
        layer.train()
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative mean
    count = 0
    for count, batch in enumerate(batches, start=1):  # noqa: B007 (the last value is returned)
        batches.run(model, batch)
    if not count:
        raise ModelError("Expected at least one batch to recalibrate the batch norms with, received none.")
    return count
