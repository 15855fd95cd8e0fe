"""Operations that rearrange axes as wholes: reshape, transpose, expand."""

from __future__ import annotations

from math import prod

import numpy as np
from torch import fx

from weightscape.symmetry._positions import Label
from weightscape.symmetry._reading import (
    Labels,
    Operator,
    Reader,
    arguments_of,
    axes_in,
    layer_of,
    shape_of,
    still,
)

INSIDE = "position inside an unflattened unit"
LENGTH_ONE = "axis of length 1"


def reshape(reader: Reader, node: fx.Node) -> Labels:
    """Merge or split axes in row-major order; each merged unit keeps its positions together."""
    source = arguments_of(node)["self"]
    before, after = shape_of(source), shape_of(node)
    result: list[Label] = list(still(len(after), LENGTH_ONE))
    for inputs, outputs in _aligned(before, after):
        labels = [reader.labels(source)[axis] for axis in inputs]
        new = _reshape_block(reader, node, labels, [before[axis] for axis in inputs], [after[axis] for axis in outputs])
        for axis, label in zip(outputs, new, strict=True):
            result[axis] = label
    return tuple(result)


def _aligned(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Return the smallest runs of axes with the same number of entries; axes of length 1 are left out."""
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    runs = []
    while left and right:
        inputs, outputs = [left.pop(0)], [right.pop(0)]
        while (have := prod(before[axis] for axis in inputs)) != (want := prod(after[axis] for axis in outputs)):
            if have < want:
                inputs.append(left.pop(0))
            else:
                outputs.append(right.pop(0))
        runs.append((inputs, outputs))
    return runs


def _reshape_block(
    reader: Reader, node: fx.Node, labels: list[Label], before: list[int], after: list[int]
) -> list[Label]:
    if len(before) == len(after) == 1:
        return labels
    tracked = [label for label in labels if not isinstance(label, str)]
    if not tracked:
        return [labels[0]] * len(after)
    if len(after) == 1:
        return [_merge(reader, node, labels, before)]
    if len(before) == 1:
        return _split_axis(reader, tracked[0], after)
    reason = f"{layer_of(node)}: reshaped across axes"
    for label in tracked:
        reader.positions.pin(label, reason)
    return [reason] * len(after)


def _merge(reader: Reader, node: fx.Node, labels: list[Label], sizes: list[int]) -> Label:
    merged = reader.positions.axis(prod(sizes))
    coordinates = np.unravel_index(np.arange(prod(sizes)), sizes)
    for number, label in enumerate(labels):
        if isinstance(label, str):
            continue
        if reader.compat:
            reader.positions.pin(
                label, f"{layer_of(node)}: flattened with its positions, which compat mode keeps fixed"
            )
        rest = [coordinate for other, coordinate in enumerate(coordinates) if other != number]
        tags = np.ravel_multi_index(rest, [size for other, size in enumerate(sizes) if other != number])
        reader.positions.relate(
            label, merged, np.asarray(coordinates[number]), np.arange(prod(sizes)), tags=np.asarray(tags)
        )
    return merged


def _split_axis(reader: Reader, label: int, sizes: list[int]) -> list[Label]:
    """Move the outermost of the new axes; the inner ones hold the positions inside its units."""
    outer = reader.positions.axis(sizes[0])
    inner = prod(sizes[1:])
    everything = np.arange(sizes[0] * inner)
    reader.positions.relate(label, outer, everything, everything // inner, tags=everything % inner)
    return [outer, *still(len(sizes) - 1, INSIDE)]


def permute(reader: Reader, node: fx.Node) -> Labels:
    """Reorder the axes (permute)."""
    arguments = arguments_of(node)
    labels = reader.labels(arguments["self"])
    return tuple(labels[axis] for axis in axes_in(arguments["dims"], len(labels)))


def transpose(reader: Reader, node: fx.Node) -> Labels:
    """Exchange two axes (transpose, t, mT)."""
    arguments = arguments_of(node)
    labels = list(reader.labels(arguments["self"]))
    if len(labels) < 2:
        return tuple(labels)
    first = arguments.get("dim0", arguments.get("axis0", -2)) % len(labels)
    second = arguments.get("dim1", arguments.get("axis1", -1)) % len(labels)
    labels[first], labels[second] = labels[second], labels[first]
    return tuple(labels)


def reverse(reader: Reader, node: fx.Node) -> Labels:
    """Reverse the order of the axes (numpy_T)."""
    return reader.labels(arguments_of(node)["self"])[::-1]


def expand(reader: Reader, node: fx.Node) -> Labels:
    """Repeat axes of length 1; the equal copies may change places freely."""
    source = arguments_of(node)["self"]
    before, after = shape_of(source), shape_of(node)
    labels = (*still(len(after) - len(before), LENGTH_ONE), *reader.labels(source))
    sizes = (*[1] * (len(after) - len(before)), *before)
    return tuple(
        label if old == new else reader.positions.axis(new)
        for label, old, new in zip(labels, sizes, after, strict=True)
    )


RESHAPING: dict[str, Operator] = {
    **dict.fromkeys(
        ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as"),
        reshape,
    ),
    "permute": permute,
    **dict.fromkeys(("transpose", "t", "swapaxes", "swapdims", "mT"), transpose),
    "numpy_T": reverse,
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), expand),
}
