"""Example inputs of a network, for tracing: taken from batches, or found by trying."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from weightscape.batches import BatchSource, first_inputs
from weightscape.errors import SymmetryError
from weightscape.symmetry._tracing import place_inputs
from weightscape.weights.modes import evaluation_mode

_SIDES = (32, 28, 64, 224, 8, 16, 48, 96, 128, 256, 299)


def example_inputs(model: nn.Module, batches: BatchSource | None = None) -> Tensor | tuple[Tensor, ...]:
    """Return a batch of two inputs of a network.

    In this order: two inputs of the first batch; the module's attribute ``example_input_array``, where Lightning keeps
    one; for a network whose first layer is linear or a convolution, zeros of the first of the usual sizes that it can
    take. Only the shape and the type matter for tracing.

    Args:
        model: The network; it is not changed.
        batches: Batches with inputs, in any form (:func:`weightscape.as_batches`).

    Raises:
        SymmetryError: If there are no batches and no such input is found.
    """
    if batches is not None:
        return tuple(_two(inputs) for inputs in first_inputs(model, batches))
    stored = getattr(model, "example_input_array", None)
    if isinstance(stored, Tensor):
        return _two(stored)
    for candidate in _candidates(model):
        if _takes(model, candidate):
            return candidate
    raise SymmetryError(
        "What inputs the network takes cannot be told from its layers. Give an example, a batch of two inputs such as "
        "example=torch.zeros(2, 3, 32, 32), or batches=."
    )


def _two(inputs: Tensor) -> Tensor:
    return inputs[:2] if len(inputs) > 1 else torch.cat([inputs, inputs])


def _candidates(model: nn.Module) -> Iterator[Tensor]:
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            yield torch.zeros(2, layer.in_features)
            return
        if isinstance(layer, nn.Conv2d):
            yield from (torch.zeros(2, layer.in_channels, side, side) for side in _SIDES)
            return
        if isinstance(layer, nn.Conv1d):
            yield from (torch.zeros(2, layer.in_channels, side) for side in _SIDES)
            return


def _takes(model: nn.Module, inputs: Tensor) -> bool:
    with evaluation_mode(model), torch.no_grad():
        try:
            model(*place_inputs(model, (inputs,)))
        except Exception:  # whatever a user's forward raises for inputs of a wrong shape
            return False
    return True
