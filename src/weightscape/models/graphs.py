"""Split the graph of a network, traced by ``torch.fx``, at one of its tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from weightscape.models.addresses import LayerAddress
from weightscape.models.graph_parts import extract, module_of

NO_EFFECT = "the outputs do not depend on"
"""How the reason of a :class:`CutError` begins where the layer leads nowhere."""


class CutError(Exception):
    """The graph of a network cannot be made or split; hooks can do it."""


@dataclass(frozen=True)
class Split:
    """The parts of a network cut at one tensor, which share modules.

    Attributes:
        front: Takes the inputs, returns the tensor.
        sides: Takes the inputs, returns the tensors that the tail needs besides; None if there are none.
        tail: Takes the tensor and what `sides` returns, returns the outputs.
        whole: Takes the tensor and the inputs, returns the outputs.
    """

    front: fx.GraphModule
    sides: fx.GraphModule | None
    tail: fx.GraphModule
    whole: fx.GraphModule


def split_graph(root: nn.Module, address: LayerAddress, example: Tensor, *, fine: bool) -> Split:
    """Trace a network in evaluation mode and split it at a layer.

    Args:
        root: The network; its modules become those of the parts.
        address: Where to split.
        example: A batch of inputs; no numbers are needed, so that it may be on the device ``meta``.
        fine: Trace down to the layers of PyTorch and to modules without modules of their own; otherwise only modules
            that contain the layer are traced, which asks less of the code of the others.

    Raises:
        CutError: If the network cannot be traced, or the values between the parts are not batches of tensors.
    """
    graph = _traced(root, address, fine=fine)
    cut = _node_at(root, graph, address)
    inputs = next(node for node in graph.nodes if node.op == "placeholder")
    output = next(node for node in graph.nodes if node.op == "output").args[0]
    result = _first_tensor_of(output)
    after = _dependents(cut)
    if result is not cut and result not in after:
        raise CutError(f"{NO_EFFECT} {address}")
    source = cut.args[0] if address.point == "input" else cut
    front = module_of(root, extract([source], {inputs: "inputs"}), "Front")  # type: ignore[list-item]
    whole = module_of(root, extract([result], {cut: "activation", inputs: "inputs"}), "Whole")
    crossing = _crossing(result, cut, after, _dependents(inputs) | {inputs})
    kept, replaced = _sorted_by_value(root, crossing, inputs, example)
    sides = module_of(root, extract(kept, {inputs: "inputs"}, several=True), "Sides") if kept else None
    given = {cut: "activation"} | {node: f"side_{number}" for number, node in enumerate(kept)}
    tail = module_of(root, extract([result], given, replaced), "Tail")
    return Split(front, sides, tail, whole)


class _Tracer(fx.Tracer):
    """Traces through the modules that contain the target, and into others down to the wanted grain."""

    def __init__(self, root: nn.Module, target: nn.Module, *, fine: bool) -> None:
        super().__init__()
        self._target, self._fine = target, fine
        self._around = {module for module in root.modules() if module is not target and target in set(module.modules())}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if m is self._target or m in self._around:
            return m is self._target
        return not self._fine or not any(m.children()) or super().is_leaf_module(m, module_qualified_name)


def _traced(root: nn.Module, address: LayerAddress, *, fine: bool) -> fx.Graph:
    """Trace a network.

    Raises:
        CutError: If that fails.
    """
    parameters = list(inspect.signature(root.forward).parameters.values())
    defaults = {one.name: one.default for one in parameters[1:] if one.default is not one.empty}
    tracer = _Tracer(root, root.get_submodule(address.module), fine=fine)
    try:
        graph = tracer.trace(root, concrete_args=defaults)
    except Exception as error:
        raise CutError(f"torch.fx cannot trace the network: {type(error).__name__}: {error}") from error
    for node in graph.nodes:
        if node.kwargs.get("inplace") is True:
            node.kwargs = {**node.kwargs, "inplace": False}
    return graph


def _node_at(root: nn.Module, graph: fx.Graph, address: LayerAddress) -> fx.Node:
    """Return the node of the tensor; for an input, a new one between the tensor and the call that takes it.

    Raises:
        CutError: If the graph has no such node.
    """
    target = root.get_submodule(address.module)
    calls = [node for node in graph.nodes if node.op == "call_module" and root.get_submodule(node.target) is target]
    number = (address.call or 1) - 1
    if number >= len(calls):
        raise CutError(f"{address} does not appear in the graph")
    call: fx.Node = calls[number]
    if address.point == "output":
        return call
    value = next((part for part in (*call.args, *call.kwargs.values()) if isinstance(part, fx.Node)), None)
    if value is None:
        raise CutError(f"{address} takes no tensor")
    with graph.inserting_before(call):
        entry = graph.call_function(_same, (value,))
    call.replace_input_with(value, entry)
    return entry


def _same(value: Tensor) -> Tensor:
    return value


def _first_tensor_of(output: Any) -> fx.Node:
    """Return the node of the outputs, by the rule of :func:`~weightscape.batch_forms.output_tensor`.

    Raises:
        CutError: If there is none.
    """
    if isinstance(output, Mapping):
        output = output.get("logits")
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, fx.Node):
        raise CutError("it is not clear which of the outputs are meant")
    return output


def _ancestors(node: fx.Node) -> set[fx.Node]:
    return _reached(node, lambda one: one.all_input_nodes)


def _dependents(node: fx.Node) -> set[fx.Node]:
    return _reached(node, lambda one: one.users)


def _reached(node: fx.Node, following: Callable[[fx.Node], Iterable[fx.Node]]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = list(following(node))
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting.extend(following(one))
    return found


def _crossing(result: fx.Node, cut: fx.Node, after: set[fx.Node], moving: set[fx.Node]) -> list[fx.Node]:
    """Return the nodes before the cut that depend on the inputs (`moving`) and that nodes after it use."""
    needed = (_ancestors(result) | {result}) & after
    used = {one: None for node in result.graph.nodes if node in needed for one in node.all_input_nodes}
    return [one for one in used if one is not cut and one not in after and one in moving]


def _sorted_by_value(
    root: nn.Module, crossing: list[fx.Node], inputs: fx.Node, example: Tensor
) -> tuple[list[fx.Node], dict[fx.Node, Callable[[fx.Graph, fx.Node], Any]]]:
    """Tell the batches of tensors among the nodes from sizes and constants, which the tail finds by itself.

    Raises:
        CutError: If a value is neither.
    """
    kept: list[fx.Node] = []
    replaced: dict[fx.Node, Callable[[fx.Graph, fx.Node], Any]] = {}
    if not crossing:
        return kept, replaced
    module = module_of(root, extract(crossing, {inputs: "inputs"}, several=True), "Values")
    twice = torch.cat([example, example])
    with torch.no_grad():
        values = list(zip(crossing, module(example), module(twice), strict=True))
    for node, once, doubled in values:
        if isinstance(once, Tensor):
            if once.shape[:1] != example.shape[:1] or doubled.shape[:1] != twice.shape[:1]:
                raise CutError(f"the value {node} that skips the cut is no batch")
            kept.append(node)
        elif _holds_no_tensor(once) and once == doubled:
            replaced[node] = _constant(once)
        elif (once, doubled) == (len(example), len(twice)):
            replaced[node] = _batch_size
        else:
            raise CutError(f"the value {node} that skips the cut depends on the batch")
    return kept, replaced


def _holds_no_tensor(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_holds_no_tensor, value))
    return value is None or isinstance(value, int | float | str | slice | torch.dtype | torch.device)


def _constant(value: Any) -> Callable[[fx.Graph, fx.Node], Any]:
    return lambda graph, activation: value


def _batch_size(graph: fx.Graph, activation: fx.Node) -> fx.Node:
    return graph.call_method("size", (activation, 0))
