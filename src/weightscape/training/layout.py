"""Private copies of models in the memory layout in which they run fastest."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weightscape.devices import device_here
from weightscape.weights.algebra import Weights
from weightscape.weights.duplicates import duplicate_of


def memory_format(model: nn.Module) -> torch.memory_format:
    """Return channels last for models with 2-d convolutions, else the contiguous format.

    Measured on one core: 1.4 times faster steps for a narrow batch-norm network, 1.07 times for conv8.
    """
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    return torch.channels_last if convolutional else torch.contiguous_format


def private_copy(model: nn.Module, device: str | torch.device) -> nn.Module:
    """Return a copy of a model on `device`, in its fast memory layout.

    Raises:
        SpecificationError: If there is no such device.
    """
    duplicate = duplicate_of(model).to(device_here(device))
    return duplicate.to(memory_format=memory_format(model))  # type: ignore[call-overload, no-any-return]


def place(images: Tensor, device: str | torch.device, layout: torch.memory_format) -> Tensor:
    """Return a batch on `device`, and in `layout` if it consists of images ``(b, c, h, w)``."""
    if images.ndim == 4:
        return images.to(device, memory_format=layout, non_blocking=True)
    return images.to(device, non_blocking=True)


def plain_weights(tensors: Mapping[str, Tensor]) -> Weights:
    """Return copies on the CPU in the ordinary layout, so that no layout leaks into what is kept."""
    return {
        name: torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach()) for name, tensor in tensors.items()
    }
