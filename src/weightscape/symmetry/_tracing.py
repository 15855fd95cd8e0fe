"""Trace a module to a graph of ATen operations, without changing it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from weightscape.errors import SymmetryError
from weightscape.weights.modes import evaluation_mode


@dataclass(frozen=True)
class Trace:
    """A traced module.

    Attributes:
        graph: The operations.
        states: Name of the parameter or buffer behind each placeholder that stands for one, under its first name.
        names: All names of each parameter and buffer of the state dict, by its first name.
        overlapping: First names of tensors that are views of the memory of others.
    """

    graph: fx.Graph
    states: dict[fx.Node, str]
    names: dict[str, list[str]]
    overlapping: frozenset[str]


def trace(model: nn.Module, inputs: tuple[Tensor, ...]) -> Trace:
    """Trace a module in evaluation mode, by ``torch.export`` or, where that fails, by ``torch.fx``.

    Raises:
        SymmetryError: If neither can trace it.
    """
    names = _state_names(model)
    with evaluation_mode(model), torch.no_grad(), _quiet():
        try:
            return _export(model, inputs, names)
        except Exception as first:
            try:
                return _trace_with_fx(model, inputs, names)
            except Exception as second:
                raise SymmetryError(_advice(model, inputs, first, second)) from second


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch prints about a failed trace to itself; the error that follows says what matters."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def place_inputs(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Move inputs to the model's device and real inputs to its floating-point type."""
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    if not tensors:
        return inputs
    device, dtype = tensors[0].device, tensors[0].dtype
    return tuple(item.to(device, dtype) if item.is_floating_point() else item.to(device) for item in inputs)


def _state_names(model: nn.Module) -> dict[str, list[str]]:
    """Return the names of each tensor of the state dict, tied ones together."""
    by_identity: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):  # extra state of a user's module
            continue
        by_identity.setdefault(id(tensor), []).append(name)
    return {names[0]: names for names in by_identity.values()}


def _overlapping(model: nn.Module, names: dict[str, list[str]]) -> frozenset[str]:
    tensors = model.state_dict(keep_vars=True)
    by_storage: dict[int, list[str]] = {}
    for name in names:
        if tensors[name].numel():
            by_storage.setdefault(tensors[name].untyped_storage().data_ptr(), []).append(name)
    return frozenset(name for sharing in by_storage.values() if len(sharing) > 1 for name in sharing)


def _export(model: nn.Module, inputs: tuple[Tensor, ...], names: dict[str, list[str]]) -> Trace:
    program = torch.export.export(model, inputs, strict=False)
    first = {alias: name for name, aliases in names.items() for alias in aliases}
    kinds = (InputKind.PARAMETER, InputKind.BUFFER)
    targets = {
        spec.arg.name: first[spec.target]
        for spec in program.graph_signature.input_specs
        if spec.kind in kinds and spec.target in first
    }
    constants = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind != InputKind.USER_INPUT}
    states = {node: targets[node.name] for node in program.graph.nodes if node.name in targets}
    _join_ties(states)
    for node in program.graph.nodes:
        node.meta["constant"] = node.op == "placeholder" and node.name in constants and node not in states
    return Trace(program.graph, states, names, _overlapping(model, names))


def _join_ties(states: dict[fx.Node, str]) -> None:
    """Let one placeholder stand for each tensor, though torch.export may make one per name of a tied one."""
    first: dict[str, fx.Node] = {}
    for node, name in states.items():
        if first.setdefault(name, node) is not node:
            node.replace_all_uses_with(first[name])


def _trace_with_fx(model: nn.Module, inputs: tuple[Tensor, ...], names: dict[str, list[str]]) -> Trace:
    tensors = model.state_dict(keep_vars=True)

    def forward(state: list[Tensor], *arguments: Tensor) -> list[Tensor]:
        output = functional_call(model, dict(zip(names, state, strict=True)), arguments)
        return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]

    # Fake tensors hold no numbers, so that control flow which depends on the data fails instead of being frozen.
    tracer = make_fx(forward, tracing_mode="fake", pre_dispatch=True, _allow_non_fake_inputs=True)
    graph = tracer([tensors[name] for name in names], *inputs).graph
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    return Trace(graph, dict(zip(placeholders, names, strict=False)), names, _overlapping(model, names))


def _advice(model: nn.Module, inputs: tuple[Tensor, ...], first: Exception, second: Exception) -> str:
    shapes = ", ".join(str(tuple(item.shape)) for item in inputs)
    reasons = [
        f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}"
        for error in (first, second)
        if str(error).strip()
    ]
    return (
        f"{type(model).__name__} cannot be traced with inputs of shape {shapes}, so its permutation groups cannot "
        f"be found. torch.export and torch.fx say: {' / '.join(reasons)}. Check that model(example) runs, and that "
        "forward takes tensors alone and does not branch on their values; or declare the groups by hand as a Symmetry "
        "and prove them with verify_symmetry."
    )
