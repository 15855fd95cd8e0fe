"""Parts of a network that cannot be traced, by hooks: the front stops early, the back runs everything."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from weightscape.batch_forms import output_tensor
from weightscape.models.addresses import LayerAddress
from weightscape.models.taps import tapped


class _Reached(Exception):
    """The wanted tensor is there; nothing after it is needed."""


class HookedFront(nn.Module):
    """From the inputs to the tensor at a place, by an exception that ends the forward pass there."""

    def __init__(self, network: nn.Module, address: LayerAddress) -> None:
        super().__init__()
        self.network = network
        self.address = address

    def forward(self, inputs: Any) -> Tensor:
        """Return a copy of the tensor at the place."""
        found: list[Tensor] = []

        def keep(value: Tensor) -> None:
            found.append(value.clone())
            raise _Reached

        try:
            with tapped(self.network, self.address, keep):
                self.network(inputs)
        except _Reached:
            pass
        return found[0]


class HookedBack(nn.Module):
    """From a tensor at a place and the inputs to the outputs: the whole network runs, with the tensor put in."""

    def __init__(self, network: nn.Module, address: LayerAddress) -> None:
        super().__init__()
        self.network = network
        self.address = address

    def forward(self, activation: Tensor, inputs: Any) -> Tensor:
        """Return the outputs."""
        # A copy, because the network may write over it.
        with tapped(self.network, self.address, lambda _value: activation.clone()):
            return output_tensor(self.network(inputs))


class Inputs(nn.Module):
    """Returns the inputs: all that a :class:`HookedBack` needs besides the tensor."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return ``(inputs,)``."""
        return (inputs,)
