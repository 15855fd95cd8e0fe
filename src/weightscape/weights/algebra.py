"""Arithmetic on weights.

Weights are a plain state dict, ``dict[str, Tensor]``. Functions return new dictionaries with new storage and never
change their arguments (:func:`select` alone returns the tensors themselves). What must tell parameters from buffers
takes the names of the parameters: batch-norm buffers are carried over, never interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import sqrt
from typing import TypeAlias

import torch
from torch import Tensor, nn

from weightscape.errors import ModelError, did_you_mean

Weights: TypeAlias = dict[str, Tensor]


def precise_dtype(device: str | torch.device) -> torch.dtype:
    """Return the type for sums and differences that must not lose digits: float64, float32 on Apple's MPS without it.

    >>> precise_dtype("cpu"), precise_dtype("mps")
    (torch.float64, torch.float32)
    """
    return torch.float32 if torch.device(device).type == "mps" else torch.float64


def weights_of(module: nn.Module) -> Weights:
    """Return a detached copy of all parameters and buffers of a module."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def parameters_of(module: nn.Module) -> Weights:
    """Return a detached copy of the parameters alone, tied ones under their first name."""
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def select(weights: Mapping[str, Tensor], names: Iterable[str]) -> Weights:
    """Return the named tensors themselves, in the order of `names`.

    Raises:
        ModelError: If a tensor does not exist.
    """
    chosen: Weights = {}
    for name in names:
        if name not in weights:
            raise ModelError(f"The weights have no tensor {name!r}. {did_you_mean(name, weights)}")
        chosen[name] = weights[name]
    return chosen


def check_alike(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    """Check that two sets of weights have the same names and shapes.

    Raises:
        ModelError: Naming the first five differences.
    """
    differences = [f"{name} is missing on the right" for name in left.keys() - right.keys()]
    differences += [f"{name} is missing on the left" for name in right.keys() - left.keys()]
    differences += [
        f"{name} is {tuple(left[name].shape)} on the left, {tuple(right[name].shape)} on the right"
        for name in left.keys() & right.keys()
        if left[name].shape != right[name].shape
    ]
    if differences:
        shown = "; ".join(sorted(differences)[:5])
        raise ModelError(f"The weights are of different architectures ({len(differences)} differences): {shown}.")


def _combine(operation: Callable[[Tensor, Tensor], Tensor], left: Weights, right: Weights) -> Weights:
    check_alike(left, right)
    return {name: operation(tensor, right[name]) for name, tensor in left.items()}


def add(left: Weights, right: Weights) -> Weights:
    """Return ``left + right``, tensor by tensor."""
    return _combine(torch.add, left, right)


def subtract(left: Weights, right: Weights) -> Weights:
    """Return ``left - right``, tensor by tensor."""
    return _combine(torch.sub, left, right)


def scale(weights: Weights, factor: float) -> Weights:
    """Return ``factor * weights``, tensor by tensor."""
    return {name: tensor * factor for name, tensor in weights.items()}


def lerp(start: Weights, end: Weights, fraction: float, parameters: Collection[str] | None = None) -> Weights:
    """Return ``start + fraction * (end - start)``; the endpoints are returned exactly.

    Args:
        start: Weights at fraction 0.
        end: Weights at fraction 1.
        fraction: Position on the line; values outside [0, 1] extrapolate.
        parameters: Names to interpolate; the other tensors (buffers) are taken from `start`. All floating-point tensors
            by default, so that counters stay whole numbers.

    Raises:
        ModelError: If the weights are of different architectures or a name in `parameters` does not exist.
    """
    check_alike(start, end)
    names = parameters if parameters is not None else [name for name in start if start[name].is_floating_point()]
    moved = {name: _between(tensor, end[name], fraction) for name, tensor in select(start, names).items()}
    return {name: moved[name] if name in moved else tensor.clone() for name, tensor in start.items()}


def _between(start: Tensor, end: Tensor, fraction: float) -> Tensor:
    """Interpolate; the ends apart, because rounding (or an infinite difference) would miss them."""
    if fraction in {0, 1}:
        return (end if fraction else start).clone()
    return start + fraction * (end - start)


def dot(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    """Return the inner product over all tensors, accumulated in float64 where the device has it.

    Raises:
        ModelError: If the weights are of different architectures.
    """
    check_alike(left, right)
    products = [_product(tensor, right[name]) for name, tensor in left.items()]
    return float(torch.stack(products).sum()) if products else 0.0


def _product(left: Tensor, right: Tensor) -> Tensor:
    dtype = precise_dtype(left.device)
    return torch.sum(left.to(dtype) * right.to(dtype))


def norm(weights: Mapping[str, Tensor]) -> float:
    """Return the Euclidean norm over all tensors."""
    return sqrt(dot(weights, weights))


def cosine(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    """Return the cosine of the angle between two sets of weights, 0 when one of them is zero."""
    scale_ = norm(left) * norm(right)
    return dot(left, right) / scale_ if scale_ else 0.0


def flatten(weights: Mapping[str, Tensor]) -> Tensor:
    """Return all entries as one vector ``(p,)``, tensors in the order of the dictionary."""
    return torch.cat([tensor.reshape(-1) for tensor in weights.values()])


def unflatten(vector: Tensor, like: Mapping[str, Tensor]) -> Weights:
    """Undo :func:`flatten`, with names and shapes taken from `like`.

    Raises:
        ModelError: If the length of the vector differs from the number of entries of `like`.
    """
    sizes = [tensor.numel() for tensor in like.values()]
    if vector.numel() != sum(sizes):
        raise ModelError(f"Expected a vector of {sum(sizes)} entries, received {vector.numel()}.")
    parts = torch.split(vector, sizes)
    return {name: part.reshape(tensor.shape).clone() for (name, tensor), part in zip(like.items(), parts, strict=True)}


def stack(members: Sequence[Weights]) -> Weights:
    """Stack weights of one architecture along a new leading axis: each tensor becomes ``(members, ...)``.

    Raises:
        ModelError: If there are no members or they are of different architectures.
    """
    if not members:
        raise ModelError("Expected at least one set of weights to stack, received none.")
    for member in members[1:]:
        check_alike(members[0], member)
    return {name: torch.stack([member[name] for member in members]) for name in members[0]}
