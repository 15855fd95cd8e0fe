"""Fold batch norms in evaluation mode into the convolutions before them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_PAIRS = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))


def fold_batch_norms(part: fx.GraphModule) -> tuple[fx.GraphModule, int]:
    """Return a graph in which each batch norm that alone follows a convolution is part of it, and their number.

    Both modules must be called once. The folded convolutions hold copies of the weights and take no gradient; the
    given graph and its modules stay as they are.
    """
    graph = fx.Graph()
    graph.output(graph.graph_copy(part.graph, {}))
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    folded: dict[str, nn.Module] = {}
    for node in list(graph.nodes):
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        convolution, norm = part.get_submodule(str(before.target)), part.get_submodule(str(node.target))
        if calls[before.target] == calls[node.target] == 1 and _foldable(convolution, norm):
            fused = fuse_conv_bn_eval(convolution, norm)  # type: ignore[type-var, arg-type]
            folded[str(before.target)] = fused.requires_grad_(False)
            node.replace_all_uses_with(before)
            graph.erase_node(node)
    used = {str(node.target): _attribute(part, node) for node in graph.nodes if node.op in {"call_module", "get_attr"}}
    return fx.GraphModule(used | folded, graph, class_name="Tail").eval(), len(folded)


def _attribute(part: fx.GraphModule, node: fx.Node) -> Any:
    found: Any = part
    for name in str(node.target).split("."):
        found = getattr(found, name)
    return found


def _foldable(convolution: nn.Module, norm: nn.Module) -> bool:
    exact = (type(convolution), type(norm)) in _PAIRS
    return exact and norm.running_mean is not None
