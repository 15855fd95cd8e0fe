"""What layers with parameters tie together: linear, convolution, embedding, norms."""

from __future__ import annotations

from math import prod
from typing import Any

from torch import fx

from weightscape.symmetry._positions import Label
from weightscape.symmetry._reading import (
    KERNEL,
    SPACE,
    Labels,
    Operator,
    Reader,
    arguments_of,
    layer_of,
    operator_name,
    pin_inputs,
    shape_of,
    still,
)


def linear(reader: Reader, node: fx.Node) -> Labels:
    """A linear layer, ``x (..., in)``, weight ``(out, in)``, bias ``(out,)``."""
    arguments = arguments_of(node)
    data, weight = reader.labels(arguments["input"]), reader.labels(arguments["weight"])
    reader.positions.relate(data[-1], weight[-1])
    if len(weight) == 1:
        return data[:-1]
    _bias(reader, arguments["bias"], weight[0])
    reader.produced(weight[0])
    return (*data[:-1], weight[0])


def _bias(reader: Reader, bias: fx.Node | None, axis: Label) -> None:
    if bias is not None:
        reader.positions.relate(axis, reader.labels(bias)[0])


_FACTORS = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "matmul": ("self", "other"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "addmm": ("mat1", "mat2"),
    "baddbmm": ("batch1", "batch2"),
}


def matmul(reader: Reader, node: fx.Node) -> Labels:
    """Matrix products, with broadcast batch axes; addmm and baddbmm add a tensor to the product."""
    arguments = arguments_of(node)
    name = operator_name(node)
    left, right = (arguments[factor] for factor in _FACTORS[name])
    first, second = reader.labels(left), reader.labels(right)
    reader.positions.relate(first[-1], second[-2] if len(second) > 1 else second[0])
    rows = first[-2:-1]
    columns = second[-1:] if len(second) > 1 else ()
    for label in columns:
        reader.produced(label)
    product = (*_batch_axes(reader, left, right, node, len(rows) + len(columns)), *rows, *columns)
    if name in ("addmm", "baddbmm"):
        added, shape = arguments["self"], shape_of(node)
        for back, length in enumerate(reversed(shape_of(added)), start=1):
            if length == shape[-back]:
                reader.positions.relate(product[-back], reader.labels(added)[-back])
    return product


def _batch_axes(reader: Reader, left: fx.Node, right: fx.Node, node: fx.Node, inner: int) -> Labels:
    shape = shape_of(node)
    count = len(shape) - inner
    result: list[Label] = []
    for back in range(count, 0, -1):
        same = [
            reader.labels(item)[-back - 2]
            for item in (left, right)
            if len(shape_of(item)) >= back + 2 and shape_of(item)[-back - 2] == shape[count - back]
        ]
        result.append(reader.positions.join(same) if same else "constant")
    return tuple(result)


def convolution(reader: Reader, node: fx.Node) -> Labels:
    """A convolution, plain, grouped or depthwise, weight ``(out, in / groups, ...)``; or a transposed one."""
    arguments = arguments_of(node)
    data, weight = reader.labels(arguments["input"]), reader.labels(arguments["weight"])
    spatial = len(weight) - 2
    channel = len(data) - spatial - 1
    if arguments.get("transposed", "transpose" in operator_name(node)):
        if arguments["groups"] > 1:
            return _refuse(reader, node, "transposed convolution in groups")
        produced: Label = weight[1]
        reader.positions.relate(data[channel], weight[0])
    else:
        produced = weight[0]
        if not _convolution_input(reader, arguments, data[channel], weight):
            return _refuse(reader, node, "grouped convolution with a computed or reused weight")
    for label in data[channel + 1 :]:
        reader.positions.pin(label, SPACE)
    for label in weight[2:]:
        reader.positions.pin(label, KERNEL)
    _bias(reader, arguments["bias"], produced)
    reader.produced(produced)
    return (*data[:channel], produced, *still(spatial, SPACE))


def _refuse(reader: Reader, node: fx.Node, what: str) -> Labels:
    reason = f"{layer_of(node)}: {what} is not supported"
    pin_inputs(reader, node, reason)
    return still(len(shape_of(node)), reason)


def _convolution_input(reader: Reader, arguments: dict[str, Any], channel: Label, weight: Labels) -> bool:
    """Tie the input channels to the weight; return False where that is not possible."""
    groups: int = arguments["groups"]
    node: fx.Node = arguments["weight"]
    out, per_group = shape_of(node)[:2]
    if groups == 1:
        reader.positions.relate(channel, weight[1])
        return True
    if per_group == 1 and out == groups:
        reader.positions.relate(channel, weight[0])
        return True
    inputs = reader.tracked(channel, groups * per_group)
    if per_group > 1:
        # The weight must be the parameter itself and serve nothing else, since its axis 1 moves row by row.
        if node.op != "placeholder" or len(node.users) > 1:
            return False
        inputs = reader.positions.axis(groups * per_group)
        reader.dense[node] = (inputs, groups)
        reader.positions.relate(channel, inputs)
    if not isinstance(weight[0], str):
        reader.positions.blocks.append((groups, (inputs, weight[0])))
    return True


def batch_norm(reader: Reader, node: fx.Node) -> Labels:
    """Batch norm and instance norm: scale, shift and running statistics per channel, axis 1."""
    arguments = arguments_of(node)
    labels = reader.labels(arguments["input"])
    for name in ("weight", "bias", "running_mean", "running_var"):
        if arguments.get(name) is not None:
            reader.positions.relate(labels[1], reader.labels(arguments[name])[0])
    return labels


def layer_norm(reader: Reader, node: fx.Node) -> Labels:
    """Layer norm and root-mean-square norm: statistics over the last axes do not depend on their order."""
    arguments = arguments_of(node)
    labels = reader.labels(arguments["input"])
    for name in ("weight", "bias"):
        if arguments.get(name) is not None:
            scale = reader.labels(arguments[name])
            for left, right in zip(labels[-len(scale) :], scale, strict=True):
                reader.positions.relate(left, right)
    return labels


def group_norm(reader: Reader, node: fx.Node) -> Labels:
    """Group norm: channels may move inside a block, and blocks as wholes."""
    arguments = arguments_of(node)
    labels = reader.labels(arguments["input"])
    for name in ("weight", "bias"):
        if arguments.get(name) is not None:
            reader.positions.relate(labels[1], reader.labels(arguments[name])[0])
    groups, channels = arguments["num_groups"], shape_of(arguments["input"])[1]
    if 1 < groups < channels and not isinstance(labels[1], str):
        reader.positions.blocks.append((groups, (labels[1],)))
    return labels


def prelu(reader: Reader, node: fx.Node) -> Labels:
    """A leaky rectifier with one slope for all or one per channel, axis 1."""
    arguments = arguments_of(node)
    labels = reader.labels(arguments["self"])
    if prod(shape_of(arguments["weight"])) > 1:
        reader.positions.relate(labels[1], reader.labels(arguments["weight"])[0])
    return labels


def embedding(reader: Reader, node: fx.Node) -> Labels:
    """Rows looked up by number: the rows stay, their entries may move."""
    arguments = arguments_of(node)
    weight = reader.labels(arguments["weight"])
    reader.positions.pin(weight[0], f"{layer_of(node)}: looked up by number")
    for label in reader.labels(arguments["indices"]):
        reader.positions.pin(label, f"{layer_of(node)}: numbers to look up")
    reader.produced(weight[1])
    return (*reader.labels(arguments["indices"]), weight[1])


LAYERS: dict[str, Operator] = {
    "linear": linear,
    **dict.fromkeys(_FACTORS, matmul),
    **{f"conv{dims}d": convolution for dims in (1, 2, 3)},
    **{f"conv_transpose{dims}d": convolution for dims in (1, 2, 3)},
    "convolution": convolution,
    **dict.fromkeys(("batch_norm", "instance_norm"), batch_norm),
    **dict.fromkeys(("layer_norm", "rms_norm"), layer_norm),
    "group_norm": group_norm,
    "prelu": prelu,
    "embedding": embedding,
}
