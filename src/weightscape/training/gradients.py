"""The loss gradient at given parameters, averaged over batches."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weightscape.batches import BatchSource, Forward, Loss, as_batches
from weightscape.devices import device_here
from weightscape.errors import ModelError, TrainingError
from weightscape.training.layout import memory_format, private_copy
from weightscape.weights.algebra import Weights, check_alike, select

_DROPOUT = nn.modules.dropout._DropoutNd
_NORMALISATION = nn.modules.batchnorm._NormBase


class GradientOracle:
    """Gradients of the mean loss of one architecture at many parameters.

    The model is in training mode: batch norm uses the statistics of the batch, as it does in training, but leaves its
    running statistics alone. Dropout is off, so that the gradient is a function of the weights and batches.

    A private copy of the model stays in its fast memory layout between calls. A call costs one forward and backward
    pass per batch, and copies of the parameters and of the gradient.

    Args:
        model: Template; never changed. Gradients are taken for all its parameters, also those that require none.
        device: Where to compute.
        forward: ``forward(model, batch)`` returns the outputs; by default the model is called with the inputs.
        loss: ``loss(outputs, targets)``; the cross-entropy by default.
    """

    def __init__(
        self,
        model: nn.Module,
        device: str | torch.device = "cpu",
        *,
        forward: Forward | None = None,
        loss: Loss | None = None,
    ) -> None:
        self._device = device_here(device)
        self._forward = forward
        self._loss = loss
        self._layout = memory_format(model)
        self._model = private_copy(model, self._device).train()
        for module in self._model.modules():
            if isinstance(module, _NORMALISATION):
                module.track_running_stats = False
            elif isinstance(module, _DROPOUT):
                module.eval()
        self._parameters = {name: parameter.requires_grad_() for name, parameter in self._model.named_parameters()}
        self._buffers = dict(self._model.named_buffers())
        self._first_buffers = {name: buffer.clone() for name, buffer in self._buffers.items()}

    def gradient(self, weights: Mapping[str, Tensor], batches: BatchSource) -> Weights:
        """Return the gradient by parameter, averaged over the batches with equal weight.

        Args:
            weights: All parameters of the model; buffers that are not given are the template's.
            batches: At least one batch of inputs and labels, in any form (:func:`~weightscape.batches.as_batches`).
                Read once, one after the other.

        Raises:
            ModelError: If a parameter is missing or has another shape than in the model.
            TrainingError: If there is no batch.
        """
        self._load(weights)
        self._model.zero_grad(set_to_none=True)
        count = 0
        given = as_batches(batches, forward=self._forward, loss=self._loss).to(self._device, self._layout)
        for count, batch in enumerate(given, start=1):  # noqa: B007 (the last value is used)
            loss = given.loss(given.outputs(self._model, batch), batch)
            loss.backward()  # type: ignore[no-untyped-call]
        if not count:
            raise TrainingError("Expected at least one batch for a gradient, received none.")
        return {name: self._take(parameter, count) for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def _load(self, weights: Mapping[str, Tensor]) -> None:
        missing = self._parameters.keys() - weights.keys()
        if missing:
            raise ModelError(
                f"Expected weights with all {len(self._parameters)} parameters of the model; "
                f"{', '.join(sorted(missing)[:5])} missing."
            )
        mine: Weights = {**self._parameters, **self._buffers}
        source = select({**self._first_buffers, **weights}, mine)
        check_alike(source, mine)
        for name, tensor in mine.items():
            tensor.copy_(source[name])

    @staticmethod
    def _take(parameter: Tensor, count: int) -> Tensor:
        """Hand over the mean of `count` summed gradients, in the ordinary layout; an unused parameter's is zero."""
        gradient, parameter.grad = parameter.grad, None
        if gradient is None:
            return torch.zeros(parameter.shape, dtype=parameter.dtype, device=parameter.device)
        return gradient.div_(count).contiguous()


def mean_gradient(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    batches: BatchSource,
    *,
    forward: Forward | None = None,
    loss: Loss | None = None,
) -> Weights:
    """Return one gradient as :class:`GradientOracle` does; use that class for many of them.

    Raises:
        ModelError: If a parameter is missing or has another shape than in the model.
        TrainingError: If there is no batch.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return GradientOracle(model, device, forward=forward, loss=loss).gradient(weights, batches)
