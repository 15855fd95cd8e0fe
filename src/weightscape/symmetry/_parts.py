"""Operations that put axes together from parts or take them apart: concatenate, slice, split, select, pad, gate."""

from __future__ import annotations

import numpy as np
from torch import fx

from weightscape.symmetry._positions import Integers, Label
from weightscape.symmetry._reading import Labels, Operator, Reader, arguments_of, layer_of, output_shapes, shape_of


def concatenate(reader: Reader, node: fx.Node) -> Labels:
    """Put tensors behind each other along one axis (cat)."""
    arguments = arguments_of(node)
    parts = [part for part in arguments["tensors"] if len(shape_of(part)) == len(shape_of(node))]
    dim = arguments["dim"] % len(shape_of(node))
    result: list[Label] = [
        reader.positions.join([reader.labels(part)[axis] for part in parts]) if axis != dim else ""
        for axis in range(len(shape_of(node)))
    ]
    if all(isinstance(reader.labels(part)[dim], str) for part in parts):
        result[dim] = reader.labels(parts[0])[dim]
        return tuple(result)
    whole = reader.positions.axis(shape_of(node)[dim])
    start = 0
    for part in parts:
        end = start + shape_of(part)[dim]
        reader.positions.relate(reader.labels(part)[dim], whole, at_right=np.arange(start, end))
        start = end
    result[dim] = whole
    return tuple(result)


def stack(reader: Reader, node: fx.Node) -> Labels:
    """Put tensors along a new axis (stack)."""
    arguments = arguments_of(node)
    parts = [reader.labels(part) for part in arguments["tensors"]]
    joined: list[Label] = [reader.positions.join(list(labels)) for labels in zip(*parts, strict=True)]
    joined.insert(arguments["dim"] % len(shape_of(node)), f"{layer_of(node)}: stacked tensors")
    return tuple(joined)


def slice_axis(reader: Reader, node: fx.Node) -> Labels:
    """Take a range of positions of one axis (slice, narrow)."""
    arguments = arguments_of(node)
    labels = list(reader.labels(arguments["self"]))
    dim = arguments["dim"] % len(labels)
    size = shape_of(arguments["self"])[dim]
    if "length" in arguments:
        taken = np.arange(size)[arguments["start"] :][: arguments["length"]]
    else:
        taken = np.arange(size)[slice(arguments["start"], arguments["end"], arguments["step"])]
    labels[dim] = reader.related_part(labels[dim], taken)
    return tuple(labels)


def split(reader: Reader, node: fx.Node) -> list[Labels]:
    """Cut one axis into ranges (split, chunk, split_with_sizes)."""
    arguments = arguments_of(node)
    labels = reader.labels(arguments["self"])
    dim = arguments["dim"] % len(labels)
    pieces: list[Labels] = []
    start = 0
    for shape in output_shapes(node):
        at: Integers = np.arange(start, start + shape[dim])
        pieces.append((*labels[:dim], reader.related_part(labels[dim], at), *labels[dim + 1 :]))
        start += shape[dim]
    return pieces


def select(reader: Reader, node: fx.Node) -> Labels | list[Labels]:
    """Take single positions of one axis (select, unbind); they must then stay where they are."""
    arguments = arguments_of(node)
    labels = reader.labels(arguments["self"])
    dim = arguments["dim"] % len(labels)
    size = shape_of(arguments["self"])[dim]
    rest = labels[:dim] + labels[dim + 1 :]
    at = np.arange(size) if "index" not in arguments else np.array([arguments["index"] % size])
    reader.positions.pin(labels[dim], f"{layer_of(node)}: selected by its position", at)
    return rest if "index" in arguments else [rest] * size


def pad(reader: Reader, node: fx.Node) -> Labels:
    """Add positions at the ends of the last axes (pad, constant_pad_nd)."""
    arguments = arguments_of(node)
    labels = list(reader.labels(arguments["self"]))
    widths: list[int] = arguments["pad"]
    constant = arguments.get("mode", "constant") == "constant"
    for number in range(len(widths) // 2):
        before, after = widths[2 * number : 2 * number + 2]
        axis = len(labels) - 1 - number
        label = labels[axis]
        if isinstance(label, str) or before == after == 0:
            continue
        if not constant or min(before, after) < 0:
            reader.positions.pin(label, f"{layer_of(node)}: padded by its own values")
            labels[axis] = f"{layer_of(node)}: padded by its own values"
            continue
        labels[axis] = reader.positions.axis(shape_of(node)[axis])
        size = reader.positions.sizes[label]
        reader.positions.relate(label, labels[axis], at_right=np.arange(before, before + size))
    return tuple(labels)


def gate(reader: Reader, node: fx.Node) -> Labels:
    """Gated halves (glu): the first half of an axis times the sigmoid of the second."""
    arguments = arguments_of(node)
    labels = list(reader.labels(arguments["self"]))
    dim = arguments["dim"] % len(labels)
    half = shape_of(node)[dim]
    first = reader.related_part(labels[dim], np.arange(half))
    second = reader.related_part(labels[dim], np.arange(half, 2 * half))
    labels[dim] = reader.positions.join([first, second])
    return tuple(labels)


PARTS: dict[str, Operator] = {
    **dict.fromkeys(("cat", "concat", "concatenate"), concatenate),
    "stack": stack,
    **dict.fromkeys(("slice", "narrow"), slice_axis),
    **dict.fromkeys(("split", "chunk", "split_with_sizes"), split),
    **dict.fromkeys(("select", "unbind"), select),
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    "glu": gate,
}
