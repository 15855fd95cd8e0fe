"""What the operators see of a traced graph: arguments by name, shapes, and the label of every axis of every value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, fx

from weightscape.symmetry._positions import Label, Positions

Labels: TypeAlias = tuple[Label, ...]
Value: TypeAlias = Labels | list[Labels]
"""The labels of a tensor's axes, or those of each tensor of a tuple."""

Operator: TypeAlias = Callable[["Reader", fx.Node], Value]

KERNEL = "position in a kernel"
SPACE = "position in space"


@dataclass
class Reader:
    """State of the walk through a graph.

    Attributes:
        compat: Whether a flattened feature map keeps its channels fixed.
        positions: Axes and relations found so far.
        values: Labels of the values computed so far.
        producers: Axes of units made by linear and convolution layers, in the order of the network.
        dense: Per weight of a grouped convolution the input axis of the block-diagonal weight, and the groups.
    """

    compat: bool
    positions: Positions = field(default_factory=Positions)
    values: dict[fx.Node, Value] = field(default_factory=dict)
    producers: list[int] = field(default_factory=list)
    dense: dict[fx.Node, tuple[int, int]] = field(default_factory=dict)

    def labels(self, node: fx.Node) -> Labels:
        """Return the labels of a tensor."""
        value = self.values[node]
        assert isinstance(value, tuple), node
        return value

    def produced(self, label: Label) -> None:
        """Note that a layer makes the units of this axis."""
        if not isinstance(label, str):
            self.producers.append(label)

    def tracked(self, label: Label, size: int) -> int:
        """Return the number of an axis, of a new and pinned one where the axis never moves."""
        if not isinstance(label, str):
            return label
        axis = self.positions.axis(size)
        self.positions.pin(axis, label)
        return axis

    def related_part(self, label: Label, at: np.ndarray[Any, np.dtype[np.int64]]) -> Label:
        """Return the label of a new axis that holds some positions of another."""
        if isinstance(label, str) or (len(at) == self.positions.sizes[label] and bool((np.diff(at) == 1).all())):
            return label
        part = self.positions.axis(len(at))
        self.positions.relate(label, part, at_left=at)
        return part


def is_tensor(item: Any) -> bool:
    """Return whether an argument is a node that yields a tensor."""
    return isinstance(item, fx.Node) and isinstance(item.meta.get("val"), Tensor)


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a tensor node."""
    return tuple(int(size) for size in node.meta["val"].shape)


def output_shapes(node: fx.Node) -> list[tuple[int, ...]]:
    """Return the shape of each tensor that a node yields."""
    value = node.meta.get("val")
    items = value if isinstance(value, tuple | list) else [value]
    return [tuple(int(size) for size in item.shape) for item in items if isinstance(item, Tensor)]


def yields_many(node: fx.Node) -> bool:
    """Return whether a node yields a tuple of tensors."""
    return isinstance(node.meta.get("val"), tuple | list)


def arguments_of(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of an ATen call by their names in the schema, defaults included."""
    schema = node.target._schema  # type: ignore[union-attr]
    names = [argument.name for argument in schema.arguments]
    defaults = {argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()}
    return {**defaults, **dict(zip(names, node.args, strict=False)), **node.kwargs}


def operator_name(node: fx.Node) -> str:
    """Return the name of a call, ``conv2d`` for ``aten.conv2d.default``; in-place forms lose their underscore."""
    if isinstance(node.target, torch._ops.OpOverload):
        namespace, _, name = node.target._schema.name.partition("::")
        return name.removesuffix("_") if namespace == "aten" else f"{namespace}.{name}"
    return str(getattr(node.target, "__name__", node.target))


def layer_of(node: fx.Node) -> str:
    """Return the name of the module that made a call, ``forward`` for the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return path.partition("@")[0] or "forward"


def still(labels: int, reason: str) -> Labels:
    """Return as many labels of axes that never move."""
    return (reason,) * labels


def axes_in(dims: Any, ndim: int) -> list[int]:
    """Return axis numbers without negative ones; all axes for None or an empty list."""
    if dims is None or dims == []:
        return list(range(ndim))
    return [dim % ndim for dim in (dims if isinstance(dims, list | tuple) else [dims])]


def pin_inputs(reader: Reader, node: fx.Node, reason: str) -> None:
    """Pin all axes of all tensors that a node takes."""
    for source in node.all_input_nodes:
        value = reader.values.get(source, ())
        for labels in value if isinstance(value, list) else [value]:
            for label in labels:
                reader.positions.pin(label, reason)
