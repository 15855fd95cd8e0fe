"""Put given weights into a network, or say which tensors do not fit."""

from __future__ import annotations

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
    there = model.state_dict()
    faults = [f"{name} is not in the weights" for name in there if name not in weights]
    faults += [f"{name} is not in the model" for name in weights if name not in there]
    faults += [
        f"{name} has shape {tuple(weights[name].shape)} in the weights and {tuple(there[name].shape)} in the model"
        for name in there
        if name in weights and weights[name].shape != there[name].shape
    ]
    if faults:
        more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        raise ModelError(
            f"The weights do not fit the model: {'; '.join(faults[:_LISTED])}{more}. "
            "Name the model and the data that they were trained with."
        )
    model.load_state_dict(weights)
