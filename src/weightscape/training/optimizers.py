"""Update rules, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from weightscape.training.recipe import Adam, Sgd
from weightscape.weights.algebra import Weights


def build_optimizer(settings: Sgd | Adam, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe for the parameters that require gradients.

    The fused kernels are used on CPU too: one pass over memory where the default loop makes three (SGD) to eight
    (Adam) passes.
    Measured on one core for a conv8: SGD with weight decay 2.4 ms against 4.9, Adam 3.4 ms against 9.6.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    fused = all(parameter.device.type in {"cpu", "cuda"} and parameter.is_floating_point() for parameter in trained)
    if isinstance(settings, Sgd):
        return torch.optim.SGD(
            trained,
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
            fused=fused,
        )
    return torch.optim.Adam(
        trained, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay, fused=fused
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Weights:
    """Return the state (momentum, moments, step counts) as tensors named ``INDEX/KEY``."""
    return {
        f"{index}/{key}": value
        for index, parameter in enumerate(_parameters(optimizer))
        for key, value in optimizer.state[parameter].items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo :func:`optimizer_tensors`.

    Torch's own ``load_state_dict`` is not used: it keeps the memory layout of the file, and the fused kernels walk a
    parameter and its state in memory order, so that the two must have the same layout.
    """
    parameters = _parameters(optimizer)
    for name, tensor in tensors.items():
        index, key = name.split("/")
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape and key != "step":
            value = torch.empty_like(parameter).copy_(tensor)
        else:
            value = tensor.to(parameter.device, copy=True)
        optimizer.state[parameter][key] = value.detach()
