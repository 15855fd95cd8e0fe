"""What parts of a network must agree with: the whole network on an example, as it is and with another activation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightscape.batch_forms import output_tensor
from weightscape.errors import ModelError
from weightscape.models.addresses import LayerAddress
from weightscape.models.graphs import CutError
from weightscape.models.taps import tapped
from weightscape.seeds import stream

_TOLERANCE = {torch.float16: 1e-2, torch.bfloat16: 1e-1}


@dataclass(frozen=True)
class Reference:
    """What the parts must agree with: the whole network, run with hooks."""

    activation: Tensor
    outputs: Tensor
    other: Tensor
    outputs_of_other: Tensor

    @property
    def unchanged(self) -> bool:
        """Whether the outputs are the same whatever is at the layer, as far as numbers show; true of empty tensors."""
        return self.outputs.is_meta or torch.equal(self.outputs, self.outputs_of_other)


def reference_of(model: nn.Module, address: LayerAddress, example: Tensor) -> Reference:
    """Run the whole network, as it is and with another activation put in.

    Raises:
        ModelError: If there is no batch of numbers at the layer.
    """
    found: list[Tensor] = []
    with tapped(model, address, lambda value: found.append(value.clone())):
        outputs = output_tensor(model(example))
    (activation,) = found
    if activation.shape[:1] != example.shape[:1] or not activation.is_floating_point() or activation.ndim < 2:
        raise ModelError(
            f"Expected at {address} a batch of {len(example)} activations, received a tensor of shape "
            f"{tuple(activation.shape)} and type {str(activation.dtype).removeprefix('torch.')}. Take another layer."
        )
    other = activation if activation.is_meta else _another(activation)
    with tapped(model, address, lambda _value: other.clone()):
        return Reference(activation, outputs, other, output_tensor(model(example)))


def _another(activation: Tensor) -> Tensor:
    """Return an activation that the network does not produce by itself."""
    noise = torch.randn(activation.shape, generator=stream(0, "proof")).to(activation)
    return activation + activation.abs().mean().clamp_min(1e-3) * noise


@contextmanager
def running() -> Iterator[None]:
    """Turn whatever stops a part of a network into a reason to cut in another way.

    Raises:
        CutError: If a part does not run.
    """
    try:
        yield
    except CutError:
        raise
    except Exception as error:
        raise CutError(f"a part of it does not run: {type(error).__name__}: {error}") from error


def prove(
    front: nn.Module,
    back: Callable[[Tensor, Tensor], Tensor],
    whole: nn.Module,
    reference: Reference,
    example: Tensor,
) -> None:
    """Check that parts agree with the whole network.

    Args:
        front: Takes the inputs and returns the activation.
        back: Takes an activation and the inputs and returns the outputs, in two parts.
        whole: The same in one part.
        reference: What they must agree with.
        example: The inputs of the reference; nothing is checked of tensors without numbers.

    Raises:
        CutError: If they do not agree, or do not run.
    """
    if example.is_meta:
        return
    with running():
        agree = {
            "its front": (front(example), reference.activation),
            "its back": (back(reference.activation, example), reference.outputs),
            "its back with another activation": (back(reference.other, example), reference.outputs_of_other),
            "its back in one": (whole(reference.other, example), reference.outputs_of_other),
        }
    for name, (one, other) in agree.items():
        if not _close(one, other):
            raise CutError(f"{name} does not agree with the whole network")


def _close(one: Tensor, other: Tensor) -> bool:
    """Whether two results agree to 1e-5 of the largest entry, in single precision."""
    if one.shape != other.shape:
        return False
    scale = float(other.abs().nan_to_num(posinf=0.0).max()) if other.numel() else 0.0
    tolerance = _TOLERANCE.get(other.dtype, 1e-5) * max(scale, 1e-6)
    return torch.allclose(one, other, rtol=0.0, atol=tolerance, equal_nan=True)
