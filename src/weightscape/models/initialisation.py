"""Draw the first weights of a network other than PyTorch's layers do by themselves.

Source: He et al., "Delving Deep into Rectifiers" (arXiv 1502.01852).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from weightscape.models.families import Initialisation

_HEAD_BIAS = 0.01
"""First bias of a head in the model zoos of arXiv 2504.18072."""


def initialise(model: nn.Module, how: Initialisation) -> None:
    """Draw the weights of convolutions, and of linear layers for ``he-fan-in``, anew and in place, in module order."""
    draw: dict[Initialisation, Callable[[nn.Module], None]] = {"he-fan-out": _fan_out, "he-fan-in": _fan_in}
    if how in draw:
        model.apply(draw[how])


def _fan_out(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _fan_in(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_uniform_(module.weight, mode="fan_in", nonlinearity="relu")
    if isinstance(module, nn.Linear):
        nn.init.constant_(module.bias, _HEAD_BIAS)
