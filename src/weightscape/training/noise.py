"""The randomness inside a model, such as dropout.

Such layers draw from torch's global generators and cannot be told otherwise. A run puts the generator at the start of
its own stream, and the caller's state back at the end, so that its noise depends on the seed alone and can be resumed.
The generators of the CPU and of CUDA devices are handled so. That of Apple's MPS is not: noise there is neither seeded
nor resumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from weightscape.seeds import derive


def _generator(device: torch.device) -> torch.Generator:
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        index = torch.cuda.current_device() if device.index is None else device.index
        return torch.cuda.default_generators[index]
    return torch.default_generator


@contextmanager
def private_noise(device: torch.device) -> Iterator[None]:
    """Restore the caller's global generator of `device` on leaving."""
    generator = _generator(device)
    state = generator.get_state()
    try:
        yield
    finally:
        generator.set_state(state)


def seed_noise(device: torch.device, order_seed: int, epoch: int) -> None:
    """Put the generator at the start of the noise of an epoch."""
    _generator(device).manual_seed(derive(order_seed, "noise", epoch))


def noise_state(device: torch.device) -> Tensor:
    """Return the state of the generator ``(n,)`` as uint8."""
    return _generator(device).get_state()


def restore_noise(device: torch.device, state: Tensor) -> None:
    """Undo :func:`noise_state`."""
    _generator(device).set_state(state.cpu())
