"""Find the permutation groups of any traceable network.

Method: the network is traced to a graph of ATen operations. Every position of every axis of every value is a node; each
operation ties positions that must move together (the output channel of a convolution, its bias, the batch-norm scale
behind it, the input column of the next layer), joins channels to blocks (grouped convolutions, group norm), or forbids
positions to move. Connected nodes are a unit; units whose ties look alike may change places and form a group. The
search is sound: an operation that is not understood pins everything that flows into it and out of it, and the report
says so.

The action that the groups describe is that of "Git Re-Basin" (arXiv 2209.04836); finding the groups from a graph
replaces that paper's handwritten tables.
"""

from __future__ import annotations

import operator

from torch import Tensor, fx, nn

from weightscape.errors import SymmetryError
from weightscape.symmetry._assembly import Slots, assemble_groups, fixed_axes
from weightscape.symmetry._grouping import find_families
from weightscape.symmetry._operators import read_call
from weightscape.symmetry._positions import find_units
from weightscape.symmetry._reading import Reader, pin_inputs, still
from weightscape.symmetry._tracing import Trace, place_inputs, trace
from weightscape.symmetry.groups import Axis, ExampleInput, Symmetry

NETWORK_INPUT = "network input"
NETWORK_OUTPUT = "output of the network"
UNUSED = "not used when the network was traced"
SHARED_STORAGE = "shares its memory with another tensor"


def discover(model: nn.Module, example: Tensor | tuple[Tensor, ...], *, compat: bool = False) -> Symmetry:
    """Find the permutation groups of a network.

    Args:
        model: The network, in any mode, on any device; it is not changed. It is traced in evaluation mode.
        example: Input of the network, or a tuple of them, with a batch of two or more; only shape and type matter.
        compat: Whether to keep the channels of a flattened feature map fixed, as the code published with arXiv
            2305.14122 does (conv4 then has 5 groups instead of 6).

    Returns:
        The groups, and every axis that stays fixed with the reason. The groups are sound by construction;
        :func:`weightscape.symmetry.verification.verify_symmetry` proves them numerically.

    Raises:
        SymmetryError: If the network cannot be traced.
    """
    inputs = example if isinstance(example, tuple) else (example,)
    if not inputs or not all(isinstance(item, Tensor) for item in inputs):
        raise SymmetryError(
            f"Expected a tensor or a tuple of tensors as example input, received {type(example).__name__}. Give a "
            "batch of two inputs such as torch.zeros(2, 3, 32, 32)."
        )
    inputs = place_inputs(model, inputs)
    traced = trace(model, inputs)
    reader, slots = _read(traced, compat)
    units = find_units(reader.positions)
    groups = assemble_groups(find_families(reader.positions, units), units, slots, reader.producers)
    kinds = tuple(ExampleInput(tuple(item.shape), str(item.dtype).removeprefix("torch.")) for item in inputs)
    return Symmetry(groups, fixed_axes(groups, units, slots), kinds)


def _read(traced: Trace, compat: bool) -> tuple[Reader, Slots]:
    """Walk through the graph; return what its operations tie together, and the axes of the parameters and buffers."""
    reader = Reader(compat)
    slots: Slots = {}
    read: set[str] = set()
    for node in traced.graph.nodes:
        if node in traced.states:
            if traced.states[node] not in read:
                slots |= _read_state(reader, node, traced)
            read.add(traced.states[node])
        elif node.op in ("placeholder", "get_attr"):
            _read_given(reader, node)
        elif node.op == "output":
            pin_inputs(reader, node, NETWORK_OUTPUT)
        elif node.target is operator.getitem and isinstance(many := reader.values[node.args[0]], list):
            reader.values[node] = many[node.args[1]]
        else:
            reader.values[node] = read_call(reader, node)
    for weight, (axis, groups) in reader.dense.items():
        raw = reader.labels(weight)[1]
        assert isinstance(raw, int)
        slots[axis] = [Axis(item.tensor, item.axis, grouped=groups) for item in slots.pop(raw)]
    return reader, slots


def _read_given(reader: Reader, node: fx.Node) -> None:
    shape = getattr(node.meta.get("val"), "shape", ())
    is_input = node.op == "placeholder" and not node.meta.get("constant")
    reader.values[node] = still(len(shape), NETWORK_INPUT if is_input else "constant")


def _read_state(reader: Reader, node: fx.Node, traced: Trace) -> Slots:
    name = traced.states[node]
    axes = [reader.positions.axis(int(size)) for size in node.meta["val"].shape]
    reader.values[node] = tuple(axes)
    for axis in axes:
        if not node.users:
            reader.positions.pin(axis, UNUSED)
        if name in traced.overlapping:
            reader.positions.pin(axis, SHARED_STORAGE)
    return {axis: [Axis(alias, number) for alias in traced.names[name]] for number, axis in enumerate(axes)}
