"""Where a permutation that does not preserve the function goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from weightscape.symmetry._generic import load
from weightscape.symmetry.groups import Axis, Group, Symmetry
from weightscape.symmetry.permutation import Permutation
from weightscape.weights.algebra import Weights

_ATTEMPTS = 200


def explain(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    weights: Weights,
    group: Group,
    permutation: Permutation,
    holds: Callable[[Permutation], bool],
) -> str:
    """Say which tensor and axis of a group to look at first.

    While a permutation is right, each layer's outputs are the same numbers in another order; the first layer where they
    are not is where to look. There, and then elsewhere, the one change to the list of axes is sought that makes the
    group right.

    Args:
        model: A private copy of the network, holding `weights`; it is left as it was.
        inputs: Inputs of the network.
        weights: The weights at which the proof failed.
        group: The group that failed.
        permutation: The permutation that failed, moving this group and those linked to it.
        holds: Whether a permutation preserves the outputs.
    """
    layer = _first_changed_layer(model, inputs, weights, permutation)
    repairs = sorted(_repairs(group, weights), key=lambda repair: repair[0].layer != layer)
    for axis, what, axes in islice(repairs, _ATTEMPTS):
        if holds(_with_axes(permutation, group, axes)):
            return f"Look first at {axis}: {what}."
    own = [axis for axis in group.axes if axis.layer == layer]
    return (
        f"Look first at {(own or group.axes)[0]}: {layer or 'none'} is the first layer whose outputs are not the same "
        "numbers in another order, and no change of a single axis makes the group right."
    )


def _repairs(group: Group, weights: Weights) -> Iterator[tuple[Axis, str, tuple[Axis, ...]]]:
    """Yield single changes to the list of axes: the axis in question, what is wrong with it, and the new list."""
    listed = {(axis.tensor, axis.axis) for axis in group.axes}
    for name, tensor in weights.items():
        for candidate in _layouts(name, tensor, group.size):
            if (name, candidate.axis) not in listed:
                yield candidate, f"the group does not list it, but should{_where(candidate)}", (*group.axes, candidate)
    for number, axis in enumerate(group.axes):
        rest = (*group.axes[:number], *group.axes[number + 1 :])
        for candidate in _layouts(axis.tensor, weights[axis.tensor], group.size):
            if candidate not in group.axes:
                what = f"the group lists it{_where(axis)}, but should list axis {candidate.axis}{_where(candidate)}"
                yield axis, what, (*rest, candidate)
        if rest:
            yield axis, "the group lists it, but should not", rest


def _layouts(name: str, tensor: Tensor, size: int) -> Iterator[Axis]:
    """Yield the ways in which a group of `size` units can sit on an axis of a tensor."""
    for number, length in enumerate(tensor.shape):
        if length % size == 0:
            yield Axis(name, number, repeat=length // size)
        if length > size:
            yield from (Axis(name, number, offset) for offset in range(0, length - size + 1, size))


def _where(axis: Axis) -> str:
    if axis.offset == 0 and axis.repeat == 1:
        return ""
    return f" (from position {axis.offset} on, {axis.repeat} per unit)"


def _with_axes(permutation: Permutation, group: Group, axes: tuple[Axis, ...]) -> Permutation:
    changed = replace(group, axes=axes)
    groups = tuple(changed if other.name == group.name else other for other in permutation.symmetry.groups)
    return Permutation(Symmetry(groups), permutation.indices)


def _first_changed_layer(
    model: nn.Module, inputs: tuple[Tensor, ...], weights: Weights, permutation: Permutation
) -> str | None:
    before = _sorted_outputs(model, inputs)
    load(model, permutation.apply(weights))
    after = _sorted_outputs(model, inputs)
    load(model, weights)
    for layer, values in before.items():
        if (after[layer] - values).norm() > 1e-9 * values.norm():
            return layer
    return None


def _sorted_outputs(model: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Return the sorted outputs of each layer without sublayers, in the order of their calls."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs[name] = output.detach().double().reshape(-1).sort().values

        return hook

    layers = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    handles = [module.register_forward_hook(keep(name)) for name, module in layers]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return outputs
