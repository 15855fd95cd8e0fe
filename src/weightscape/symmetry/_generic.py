"""Generic points: random parameters, buffers and inputs at which no accident hides a mistake."""

from __future__ import annotations

import copy

import torch
from torch import Generator, Tensor, nn

from weightscape.symmetry._tracing import place_inputs
from weightscape.symmetry.groups import ExampleInput
from weightscape.weights.algebra import Weights


def double_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a model in float64 and evaluation mode, on the same device where that knows float64."""
    copied = copy.deepcopy(model)
    if any(tensor.device.type == "mps" for tensor in copied.state_dict().values()):
        copied = copied.cpu()
    return copied.double().eval().requires_grad_(False)


def randomise(model: nn.Module, generator: Generator) -> None:
    """Draw all parameters and buffers of a model anew, in place.

    Matrices are normal with variance ``2 / fan-in``, the rest standard normal; tensors of positive entries alone, such
    as running variances, become uniform on [0.5, 1.5]. Integers and tensors with infinite entries (masks) stay.
    """
    drawn: set[int] = set()
    for tensor in model.state_dict(keep_vars=True).values():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or id(tensor) in drawn:
            continue
        drawn.add(id(tensor))
        if bool(torch.isfinite(tensor).all()):
            with torch.no_grad():
                tensor.copy_(_draw(tensor, generator))


def _draw(tensor: Tensor, generator: Generator) -> Tensor:
    if tensor.numel() and bool((tensor > 0).all()):
        return torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5
    values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    return values * (2 * tensor.shape[0] / tensor.numel()) ** 0.5 if tensor.ndim > 1 else values


def random_inputs(model: nn.Module, kinds: tuple[ExampleInput, ...], generator: Generator) -> tuple[Tensor, ...]:
    """Draw inputs of the traced shapes: standard normal, or 0 and 1 for integers."""
    drawn = []
    for kind in kinds:
        dtype: torch.dtype = getattr(torch, kind.dtype)
        if dtype.is_floating_point:
            drawn.append(torch.randn(kind.shape, generator=generator, dtype=torch.float64))
        else:
            drawn.append(torch.randint(0, 2, kind.shape, generator=generator).to(dtype))
    return place_inputs(model, tuple(drawn))


def load(model: nn.Module, weights: Weights) -> None:
    """Copy weights into a model, in place."""
    state = model.state_dict()
    with torch.no_grad():
        for name, tensor in weights.items():
            state[name].copy_(tensor)
