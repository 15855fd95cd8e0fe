"""Make modules of parts of a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import fx, nn

from weightscape.batch_forms import output_tensor


def extract(
    results: list[fx.Node],
    given: dict[fx.Node, str],
    replaced: Mapping[fx.Node, Callable[[fx.Graph, fx.Node], Any]] | None = None,
    *,
    several: bool = False,
) -> fx.Graph:
    """Return the graph of what is needed for the results, with placeholders for the given nodes."""
    graph = fx.Graph()
    copies: dict[fx.Node, Any] = {node: graph.placeholder(name) for node, name in given.items()}
    first = next(iter(copies.values()))
    copies |= {node: make(graph, first) for node, make in (replaced or {}).items()}
    for node in _needed(results, copies):
        copies[node] = graph.node_copy(node, lambda one: copies[one])
    outputs = tuple(copies[node] for node in results)
    graph.output(outputs if several else outputs[0])
    return graph


def _needed(results: list[fx.Node], known: Iterable[fx.Node]) -> list[fx.Node]:
    """Return the nodes to compute, in order, when others are known."""
    found = set(known)
    needed: set[fx.Node] = set()
    waiting = [node for node in results if node not in found]
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting.extend(one for one in node.all_input_nodes if one not in found)
    return [node for node in results[0].graph.nodes if node in needed]


def module_of(root: nn.Module, graph: fx.Graph, name: str) -> fx.GraphModule:
    """Return a module in evaluation mode that runs a graph and holds those modules of `root` that it calls."""
    graph.lint()
    return fx.GraphModule(root, graph, class_name=name).eval()


def protected(part: fx.GraphModule) -> fx.GraphModule:
    """Return the part with clones of what it is given, for networks that write over their activations."""
    graph = part.graph
    givens = [node for node in graph.nodes if node.op == "placeholder"]
    for node in givens:
        users = list(node.users)
        with graph.inserting_after(givens[-1]):
            clone = graph.call_method("clone", (node,))
        for user in users:
            user.replace_input_with(node, clone)
    return fx.GraphModule(part, graph, class_name=type(part).__name__).eval()


def with_tensor_output(part: fx.GraphModule) -> fx.GraphModule:
    """Return the part with its output reduced to a tensor, where a module returns a dictionary or an object."""
    graph = part.graph
    output = next(node for node in graph.nodes if node.op == "output")
    with graph.inserting_before(output):
        tensor = graph.call_function(output_tensor, (output.args[0],))
    output.args = (tensor,)
    return fx.GraphModule(part, graph, class_name=type(part).__name__).eval()
