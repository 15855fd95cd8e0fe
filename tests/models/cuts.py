"""What every cut of a network must satisfy, whatever the network."""

from __future__ import annotations

import copy
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from weightscape.batch_forms import output_tensor
from weightscape.models.addresses import LayerAddress
from weightscape.models.cutting import Back, back_of, front_of

TOLERANCE = 1e-5


def generic(model: nn.Module, seed: int = 0) -> nn.Module:
    """Return the model in evaluation mode with random parameters and statistics: fresh batch norms hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.2 * (torch.rand(tensor.shape, generator=generator) - 0.5))
    return model.eval()


@contextmanager
def watched(model: nn.Module, address: LayerAddress, replacement: Tensor | None = None):
    """Record copies of the tensor at an address, by hooks written apart from the package; put another one in."""
    seen: list[Tensor] = []
    calls = 0

    def visit(value: Tensor) -> Tensor | None:
        nonlocal calls
        calls += 1
        if calls != (address.call or 1):
            return None
        seen.append(value.detach().clone())
        return None if replacement is None else replacement.clone()

    def enter(_module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        other = visit(arguments[0])
        return None if other is None else (other, *arguments[1:])

    module = model.get_submodule(address.module)
    if address.point == "input":
        handle = module.register_forward_pre_hook(enter)
    else:
        handle = module.register_forward_hook(lambda _module, _arguments, output: visit(output))
    try:
        yield seen
    finally:
        handle.remove()


@torch.no_grad()
def check_cut(model: nn.Module, layer: str, inputs: Tensor, **options: bool) -> Back:
    """Cut a network and compare the parts with the whole: its own activation, and another one put in."""
    address = LayerAddress.parse(layer)
    before = copy.deepcopy(model.state_dict())
    front, back = front_of(model, layer, example=inputs[:2]), back_of(model, layer, example=inputs[:2], **options)
    with watched(model, address) as seen:
        outputs = output_tensor(model(inputs))
    close(front(inputs), seen[0], f"{layer}: front")
    sides = () if back.sides is None else back.sides(inputs)
    assert all(isinstance(side, Tensor) and len(side) == len(inputs) for side in sides)
    close(back.tail(seen[0].clone(), *sides), outputs, f"{layer}: tail")
    other = seen[0].flip(0) + 0.1
    with watched(model, address, other):
        replaced = output_tensor(model(inputs))
    given = other.clone()
    close(back.tail(given, *sides), replaced, f"{layer}: tail on another activation")
    close(back.whole(given, inputs), replaced, f"{layer}: whole")
    close(back(given, inputs), replaced, f"{layer}: back")
    assert torch.equal(given, other), f"{layer}: the tail wrote over the activation"
    for side, again in zip(sides, () if back.sides is None else back.sides(inputs), strict=True):
        assert torch.equal(side, again), f"{layer}: the tail wrote over what goes around the cut"
    assert back.shape == tuple(other.shape[1:])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    return back


def close(found: Tensor, expected: Tensor, what: str) -> None:
    """Check that two tensors agree to 1e-5 of the largest entry."""
    error = float((found - expected).detach().abs().max()) / max(float(expected.detach().abs().max()), 1e-6)
    assert found.shape == expected.shape
    assert error <= TOLERANCE, f"{what}: {error:.1e}"
