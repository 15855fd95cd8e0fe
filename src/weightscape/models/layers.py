"""The layers of a network by name: what they are, what they return, what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from weightscape.errors import ModelError, did_you_mean
from weightscape.models.stitches import AffineStitch, FlatStitch, LowRankStitch
from weightscape.results import Result
from weightscape.weights.modes import evaluation_mode

if TYPE_CHECKING:
    from weightscape.results import Table


@dataclass(frozen=True)
class LayerTable(Result):
    """The layers of a model.

    Attributes:
        parameters: Number of trainable and frozen parameters; shared ones count once.
        multiply_adds: Multiply-adds of a forward pass per input, of convolutions and linear layers.
        layers: One row per module in the order of registration: ``name``, ``kind``, ``output`` (shape without the
            batch, like ``64x32x32``; empty when the module is not called or returns no tensor), ``parameters`` (of
            the module itself, not of its children), ``multiply_adds`` per input and ``calls`` per forward pass.
    """

    parameters: int
    multiply_adds: int
    layers: Table


@dataclass
class _Trace:
    output: str = ""
    calls: int = 0
    multiply_adds: int = 0


def module_named(model: nn.Module, name: str) -> nn.Module:
    """Return the module of that name.

    Raises:
        ModelError: If the model has no such module, with the closest name.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
    modules.pop("")
    if name not in modules:
        raise ModelError(f"The model has no layer {name!r}. {did_you_mean(name, modules)}")
    return modules[name]


def layer_table(model: nn.Module, *, shape: tuple[int, ...]) -> LayerTable:
    """List the layers of a model for inputs of one shape.

    One forward pass of two inputs in evaluation mode. Weights, buffers, modes and hooks of the model are the same
    afterwards.

    Args:
        model: The network.
        shape: Shape of one input, without the batch.

    Raises:
        ModelError: If the model cannot take such inputs.
    """
    import pandas

    traces = _trace(model, shape)
    counted: set[int] = set()
    rows = [
        {
            "name": name,
            "kind": type(module).__name__,
            "output": traces[module].output,
            "parameters": _own_parameters(module, counted),
            "multiply_adds": traces[module].multiply_adds,
            "calls": traces[module].calls,
        }
        for name, module in model.named_modules()
        if name or not list(model.children())
    ]
    columns = ["name", "kind", "output", "parameters", "multiply_adds", "calls"]
    return LayerTable(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        multiply_adds=sum(trace.multiply_adds for trace in traces.values()),
        layers=pandas.DataFrame(rows, columns=columns),
    )


def _own_parameters(module: nn.Module, counted: set[int]) -> int:
    own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in counted]
    counted.update(map(id, own))
    return sum(parameter.numel() for parameter in own)


@contextmanager
def _tracing(model: nn.Module) -> Iterator[dict[nn.Module, _Trace]]:
    """Record every call of every module, in evaluation mode; leave hooks and modes as they were."""
    traces = {module: _Trace() for module in model.modules()}

    def record(module: nn.Module, inputs: Any, output: Any) -> None:
        trace = traces[module]
        trace.calls += 1
        if isinstance(output, Tensor):
            trace.output = trace.output or "x".join(map(str, output.shape[1:]))
            trace.multiply_adds += _multiply_adds(module, output)

    hooks = [module.register_forward_hook(record) for module in traces]
    try:
        with evaluation_mode(model):
            yield traces
    finally:
        for hook in hooks:
            hook.remove()


def _trace(model: nn.Module, shape: tuple[int, ...]) -> dict[nn.Module, _Trace]:
    reference = next((parameter for parameter in model.parameters()), torch.empty(0))
    example = torch.zeros(2, *shape, dtype=reference.dtype, device=reference.device)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        with _tracing(model) as traces, torch.no_grad(), torch.random.fork_rng(devices=[]):
            functional_call(model, buffers, (example,))
    except Exception as error:
        raise ModelError(f"The model cannot take inputs of shape {tuple(example.shape)}: {error}") from error
    return traces


def _multiply_adds(module: nn.Module, output: Tensor) -> int:
    """Return the multiply-adds per input: every output entry is an inner product with one row of the weight."""
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return output[0].numel() * module.weight[0].numel()
    if isinstance(module, AffineStitch | FlatStitch):
        return output[0].numel() * module.weight.shape[1]
    if isinstance(module, LowRankStitch):
        channels, rank = module.outer.shape
        return output[0].numel() * rank + output[0].numel() // channels * module.inner.numel()
    return 0
