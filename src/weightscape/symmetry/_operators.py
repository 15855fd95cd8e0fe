"""What the operations of a network tie together: the table of all that are understood, and the plain ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from weightscape.symmetry._layers import LAYERS
from weightscape.symmetry._parts import PARTS
from weightscape.symmetry._positions import Label
from weightscape.symmetry._reading import (
    SPACE,
    Labels,
    Operator,
    Reader,
    Value,
    arguments_of,
    axes_in,
    is_tensor,
    layer_of,
    operator_name,
    output_shapes,
    pin_inputs,
    shape_of,
    still,
    yields_many,
)
from weightscape.symmetry._reshaping import RESHAPING


def read_call(reader: Reader, node: fx.Node) -> Value:
    """Return the labels of what a call yields, and note what the call ties together or forbids to move."""
    name = operator_name(node)
    if not isinstance(node.target, torch._ops.OpOverload) or (node.target._overloadname == "dtype" and name == "view"):
        return unsupported(reader, node)
    if name in OPERATORS:
        return OPERATORS[name](reader, node)
    if torch.Tag.pointwise in node.target.tags and not yields_many(node):
        return pointwise(reader, node)
    return unsupported(reader, node)


def unsupported(reader: Reader, node: fx.Node) -> Value:
    """Pin everything that flows into an operation that is not understood; what flows out then stays in place too."""
    reason = f"{layer_of(node)}: unsupported operation {node.target}"
    pin_inputs(reader, node, reason)
    outputs = [still(len(shape), reason) for shape in output_shapes(node)]
    return outputs if yields_many(node) else (outputs[0] if outputs else ())


def pointwise(reader: Reader, node: fx.Node) -> Labels:
    """Element-wise functions of broadcast tensors."""
    return _broadcast(reader, [item for item in node.all_input_nodes if is_tensor(item)], shape_of(node))


def _broadcast(reader: Reader, items: list[fx.Node], shape: tuple[int, ...]) -> Labels:
    result: list[Label] = []
    for back in range(len(shape), 0, -1):
        present = [item for item in items if len(shape_of(item)) >= back]
        same = [reader.labels(item)[-back] for item in present if shape_of(item)[-back] == shape[-back]]
        result.append(reader.positions.join(same) if same else "constant")
    return tuple(result)


def unchanged(reader: Reader, node: fx.Node) -> Value:
    """Dropout, copies and conversions: the axes of the first argument."""
    labels = reader.labels(node.all_input_nodes[0])
    return [labels] * len(output_shapes(node)) if yields_many(node) else labels


def uniform(reader: Reader, node: fx.Node) -> Labels:
    """Tensors of one number (zeros_like): equal entries may change places freely."""
    return tuple(reader.positions.axis(size) for size in shape_of(node))


def nothing(reader: Reader, node: fx.Node) -> Value:
    """Checks and sizes, which yield no tensor."""
    return ()


def constant(reader: Reader, node: fx.Node) -> Value:
    """Tensors made from no tensor."""
    return still(len(shape_of(node)), "constant")


def pooling(spatial: int) -> Operator:
    """Return the operator of pooling or resizing over the last `spatial` axes, all but two for 0."""

    def read(reader: Reader, node: fx.Node) -> Value:
        labels = reader.labels(node.all_input_nodes[0])
        kept = len(labels) - spatial if spatial else 2
        for label in labels[kept:]:
            reader.positions.pin(label, SPACE)
        result = (*labels[:kept], *still(len(labels) - kept, SPACE))
        return [result] * len(output_shapes(node)) if yields_many(node) else result

    return read


def reduction(reader: Reader, node: fx.Node) -> Value:
    """Sums, means, norms and extremes: they do not depend on the order of what they run over."""
    arguments = arguments_of(node)
    if "other" in arguments:
        return pointwise(reader, node)
    labels = reader.labels(arguments["self"])
    if not yields_many(node):
        return _reduced(arguments, labels)
    # Extremes along an axis also yield where they were found, which means nothing when that axis moves.
    for axis in axes_in(arguments["dim"], len(labels)):
        reader.positions.pin(labels[axis], f"{layer_of(node)}: unsupported operation {node.target}")
    return [_reduced(arguments, labels)] * len(output_shapes(node))


def _reduced(arguments: dict[str, Any], labels: Labels) -> Labels:
    gone = axes_in(arguments.get("dim"), len(labels))
    if arguments.get("keepdim"):
        return tuple("reduced axis" if axis in gone else label for axis, label in enumerate(labels))
    return tuple(label for axis, label in enumerate(labels) if axis not in gone)


def softmax(reader: Reader, node: fx.Node) -> Labels:
    """Softmax along any axis follows the order of its inputs."""
    return reader.labels(arguments_of(node)["self"])


_UNCHANGED = (
    "clone contiguous alias detach detach_copy to _to_copy type_as lift_fresh lift_fresh_copy "
    "dropout feature_dropout alpha_dropout feature_alpha_dropout"
)
# Element-wise operations that torch does not tag as such.
_POINTWISE = (
    "hardswish log_sigmoid rsub floor_divide divide multiply subtract true_divide negative absolute special_expit "
    "fill copy zero"
)
_REDUCTIONS = "mean sum amax amin max min prod var std logsumexp linalg_vector_norm norm all any"
_POOLS = "max_pool avg_pool adaptive_max_pool adaptive_avg_pool"
_RESIZES = (
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d "
    "upsample_bicubic2d upsample_trilinear3d"
)
_CHECKS = "_assert_tensor_metadata _assert_async _assert_scalar sym_size sym_numel"

OPERATORS: dict[str, Operator] = {
    **LAYERS,
    **RESHAPING,
    **PARTS,
    **dict.fromkeys(_UNCHANGED.split(), unchanged),
    **dict.fromkeys(_POINTWISE.split(), pointwise),
    "_weight_norm": pointwise,  # directions times lengths over norms, which do not depend on the order
    **dict.fromkeys(("zeros_like", "ones_like", "full_like"), uniform),
    **dict.fromkeys(("zeros", "ones", "full", "arange", "scalar_tensor", "eye"), constant),
    **dict.fromkeys(_CHECKS.split(), nothing),
    **{f"{pool}{dims}d": pooling(dims) for pool in _POOLS.split() for dims in (1, 2, 3)},
    **{f"max_pool{dims}d_with_indices": pooling(dims) for dims in (1, 2, 3)},
    **dict.fromkeys(_RESIZES.split(), pooling(0)),
    **dict.fromkeys(_REDUCTIONS.split(), reduction),
    **dict.fromkeys(("softmax", "log_softmax", "_softmax", "_log_softmax"), softmax),
}
