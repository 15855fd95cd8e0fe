"""Devices that are there, by the names that torch gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightscape.errors import Problem, SpecificationError

if TYPE_CHECKING:
    import torch


def device_here(device: str | torch.device) -> torch.device:
    """Return a device, once it has been asked for.

    What torch says of a device that is not there is of several kinds, ``AssertionError`` among them, and names back
    ends that nobody asked for.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or a device of torch.

    Raises:
        SpecificationError: If this is no name of a device, or this machine has no such device.
    """
    import torch

    gpus = torch.cuda.device_count()
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (AssertionError, RuntimeError, TypeError) as error:
        cause = error
    if gpus and str(device) in {"cuda", *(f"cuda:{gpu}" for gpu in range(gpus))}:
        raise cause  # it is there, and busy or out of order: torch knows why
    remedy = f"There is {_listed(gpus)} here; 'weightscape doctor' says more."
    raise SpecificationError([Problem("device", "a device of this machine", repr(str(device)), remedy)]) from cause


def _listed(gpus: int) -> str:
    return "'cpu'" if not gpus else "'cpu' and 'cuda:0'" if gpus == 1 else f"'cpu' and 'cuda:0' to 'cuda:{gpus - 1}'"
