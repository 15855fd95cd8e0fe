"""Split a network at a layer: what leads to the layer, what the layer leads to, and what goes around it.

A network is cut in its graph, traced by ``torch.fx``, so that each part runs nothing that it does not need and holds no
other tensors; where tracing fails, hooks do it. Every cut is proved on an example: the parts must agree with the whole
network, also with another activation put in at the layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, fx, nn

from weightscape.errors import ModelError
from weightscape.models.addresses import LayerAddress, places, resolve
from weightscape.models.cut_proof import Reference, prove, reference_of, running
from weightscape.models.folding import fold_batch_norms
from weightscape.models.graph_parts import protected, with_tensor_output
from weightscape.models.graphs import NO_EFFECT, CutError, Split, split_graph
from weightscape.models.hooked import HookedBack, HookedFront, Inputs
from weightscape.weights.duplicates import duplicate_of
from weightscape.weights.modes import evaluation_mode

Method: TypeAlias = Literal["graph", "hooks"]
_PROOF = 4
"""Inputs of the example that a cut is proved on."""


@dataclass(frozen=True)
class Back:
    """A network from a layer on.

    Attributes:
        sides: Takes the inputs and returns the tensors, each with the batch first, that the tail needs besides the
            activation and that do not depend on it, such as the shortcut around a cut inside a residual block; None
            where there are none.
        tail: Takes an activation at the layer and the tensors of `sides`, returns the outputs of the network: a
            tensor, the logits of a network that returns a dictionary.
        whole: Takes an activation and the inputs, returns the outputs: both in one, each tensor under its own name.
        method: ``graph``, or ``hooks``, where the tail runs the whole network with the activation put in.
        shape: Shape of the activation, without the batch.
        folded: Number of batch norms that were folded into convolutions of the tail.
    """

    sides: nn.Module | None
    tail: nn.Module
    whole: nn.Module
    method: Method
    shape: tuple[int, ...]
    folded: int = 0

    def __call__(self, activation: Tensor, inputs: Tensor) -> Tensor:
        """Return the outputs for an activation put in at the layer."""
        return self.tail(activation, *(() if self.sides is None else self.sides(inputs)))  # type: ignore[no-any-return]


def front_of(model: nn.Module, layer: str, *, example: Tensor, trainable: bool = False) -> nn.Module:
    """Return the part of a network from the inputs to a layer; nothing after the layer is run.

    The part is in evaluation mode and shares memory with the network, which stays as it is, hooks and modes included.

    Args:
        model: The network; it takes one tensor.
        layer: Address of the layer (:class:`~weightscape.models.addresses.LayerAddress`).
        example: A batch of at least one input, on the device of the network.
        trainable: Whether the part holds the parameters themselves. By default they are frozen: the part's parameters
            are others in the same memory that take no gradient.

    Raises:
        ModelError: If there is no such layer, it is not clear which call is meant, or the layer passes on no batch of
            floating-point numbers.
    """
    return _cut(model, layer, example, trainable=trainable).front


def back_of(model: nn.Module, layer: str, *, example: Tensor, trainable: bool = False, fold: bool = False) -> Back:
    """Return the part of a network from a layer to the outputs, with what goes around the layer apart.

    Args:
        model: The network; it takes one tensor.
        layer: Address of the layer; of ``name:input``, the call of ``name`` is the first thing that the tail runs.
        example: A batch of at least one input, on the device of the network.
        trainable: As for :func:`front_of`. With frozen parameters, a backward pass through the tail computes the
            gradient of the activation alone.
        fold: Fold batch norms that directly follow a convolution into it, for speed. Such layers of the tail hold
            copies of the weights and have other numbers of tensors; the outputs are the same up to rounding.

    Raises:
        ModelError: As :func:`front_of`, or if the outputs do not depend on the layer.
    """
    parts = _cut(model, layer, example, trainable=trainable)
    if not fold or parts.back.method == "hooks":
        return parts.back
    assert isinstance(parts.back.tail, fx.GraphModule)
    tail, folded = fold_batch_norms(parts.back.tail)
    return Back(parts.back.sides, tail, parts.back.whole, "graph", parts.back.shape, folded)


@dataclass(frozen=True)
class _Parts:
    front: nn.Module
    back: Back


def _cut(model: nn.Module, layer: str, example: Tensor, *, trainable: bool) -> _Parts:
    """Cut in the graph, traced finely or else coarsely, or by hooks: the first that agrees with the whole network.

    Raises:
        ModelError: If none does.
    """
    reasons = []
    example = example[:_PROOF]
    with evaluation_mode(model), torch.no_grad():
        there = places(model, lambda: model(example))
        address = resolve(model, there, LayerAddress.parse(layer))
        reference = reference_of(model, address, example)
        shape = tuple(reference.activation.shape[1:])
        attempts: list[Callable[[], _Parts]] = [
            lambda: _by_graph(_shared_copy(model, trainable, inplace=False), address, example, shape, fine=True),
            lambda: _by_graph(_shared_copy(model, trainable, inplace=False), address, example, shape, fine=False),
            lambda: _by_hooks(_shared_copy(model, trainable, inplace=True), address, shape),
        ]
        for attempt in attempts:
            try:
                parts = attempt()
                prove(parts.front, parts.back, parts.back.whole, reference, example)
            except CutError as error:
                reasons.append(str(error))
                continue
            if parts.back.method == "graph" or not _without_effect(reasons, reference):
                return parts
    raise ModelError(
        f"The network cannot be cut at {layer}: {reasons[-1]}. Check that the layer has an effect on the outputs, that "
        "equal inputs give equal outputs, and that each input is treated apart from the others of its batch."
    )


def _without_effect(reasons: list[str], reference: Reference) -> bool:
    """Whether the layer leads to the outputs neither in the graph nor in numbers, which may be equal by chance."""
    return reference.unchanged and any(reason.startswith(NO_EFFECT) for reason in reasons)


def _shared_copy(model: nn.Module, trainable: bool, *, inplace: bool) -> nn.Module:
    """Return a copy whose tensors share memory with those of the model, the parameters frozen unless trainable."""
    memo: dict[int, object] = {id(buffer): buffer for buffer in model.buffers()}
    for parameter in model.parameters():
        memo[id(parameter)] = parameter if trainable else nn.Parameter(parameter.detach(), requires_grad=False)
    duplicate = duplicate_of(model, memo)
    for module in duplicate.modules():
        if not inplace and getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    return duplicate.eval()


@running()
def _by_graph(
    duplicate: nn.Module, address: LayerAddress, example: Tensor, shape: tuple[int, ...], *, fine: bool
) -> _Parts:
    parts = split_graph(duplicate, address, example, fine=fine)
    if not isinstance(duplicate(example), Tensor):
        tail, whole = with_tensor_output(parts.tail), with_tensor_output(parts.whole)
        parts = Split(parts.front, parts.sides, tail, whole)
    tail, whole = parts.tail, parts.whole
    if not example.is_meta and _writes_over(parts, example):
        tail, whole = protected(tail), protected(whole)
    return _Parts(parts.front, Back(parts.sides, tail, whole, "graph", shape))


def _writes_over(parts: Split, example: Tensor) -> bool:
    given = [parts.front(example).clone(), *(() if parts.sides is None else parts.sides(example))]
    before = [one.clone() for one in given]
    parts.tail(*given)
    return not all(torch.equal(one, other) for one, other in zip(given, before, strict=True))


def _by_hooks(duplicate: nn.Module, address: LayerAddress, shape: tuple[int, ...]) -> _Parts:
    back = HookedBack(duplicate, address)
    return _Parts(HookedFront(duplicate, address), Back(Inputs(), back, back, "hooks", shape))
