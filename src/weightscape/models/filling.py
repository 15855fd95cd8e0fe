"""Put given weights into a network, or say which tensors do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from weightscape.errors import ModelError

if TYPE_CHECKING:
    from weightscape.weights.algebra import Weights

_LISTED = 8


def fill_model(model: nn.Module, weights: Weights) -> None:
    """Load weights into a network, in place.

    Raises:
        ModelError: If the network has other tensors, naming those that differ with both shapes.
    """
    there = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    faults = differences(there, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    if faults:
        raise ModelError(
            f"The weights do not fit the model: {listed(faults)}. "
            "Name the model and the data that they were trained with."
        )
    model.load_state_dict(weights)


def differences(model: Mapping[str, tuple[int, ...]], weights: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return in words which tensors of a network and of weights differ.

    Args:
        model: Shapes of the network's tensors by name.
        weights: Shapes of the weights by name.
    """
    faults = [f"{name} is not in the weights" for name in model if name not in weights]
    faults += [f"{name} is not in the model" for name in weights if name not in model]
    return faults + [
        f"{name} has shape {weights[name]} in the weights and {shape} in the model"
        for name, shape in model.items()
        if name in weights and weights[name] != shape
    ]


def listed(faults: Sequence[str]) -> str:
    """Return the first of many faults as one text, and how many more there are."""
    more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
    return "; ".join(faults[:_LISTED]) + more
