"""Weights on disk: safetensors, with tied tensors stored once."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from weightscape.errors import StoreError
from weightscape.weights.algebra import Weights

_TIE = "tie:"


def save_weights(path: str | Path, weights: Weights) -> None:
    """Write weights to a safetensors file.

    safetensors refuses shared and non-contiguous storage, so tensors are made contiguous and tied tensors are written
    once; the ties are recorded in the metadata and restored by :func:`load_weights`. The file appears under its name
    only when it is complete.

    Raises:
        StoreError: If the file cannot be written.
    """
    first: dict[tuple[Any, ...], str] = {}
    stored: Weights = {}
    ties: dict[str, str] = {}
    for name, tensor in weights.items():
        identity = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and identity in first:
            ties[_TIE + name] = first[identity]
        else:
            first[identity] = name
            stored[name] = tensor.detach().cpu().contiguous().clone()
    _replace(Path(path), stored, {"order": "\n".join(weights), **ties})


def _replace(path: Path, stored: Weights, metadata: dict[str, str]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(stored, str(temporary), metadata=metadata)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def load_weights(path: str | Path, device: str = "cpu") -> Weights:
    """Read weights from a safetensors file, in the order in which they were written where that is recorded.

    A state dict that ``torch.save`` wrote (``.pt``, ``.pth``) is read too; objects in it other than tensors are refused
    and never executed.

    Raises:
        StoreError: If the file is missing or damaged, or holds something else.
    """
    if Path(path).suffix in {".pt", ".pth"}:
        return _load_pickled(path, device)
    try:
        with safe_open(str(path), framework="pt", device=device) as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be read as safetensors: {error}") from error
    for name, source in metadata.items():
        if name.startswith(_TIE):
            weights[name.removeprefix(_TIE)] = weights[source]
    order = metadata["order"].split("\n") if "order" in metadata else list(weights)
    return {name: weights[name] for name in order if name in weights}


def _load_pickled(path: str | Path, device: str) -> Weights:
    try:
        found = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        # What torch says here advises to execute the file.
        raise StoreError(
            f"{path} cannot be read as a state dict: it is damaged, or holds Python objects besides tensors, which are "
            "not executed. Write it with torch.save(model.state_dict(), path), or as safetensors."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise StoreError(f"{path} cannot be read as a state dict; it is missing or damaged: {error!r}.") from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise StoreError(f"{path} holds something else than tensors by name; save model.state_dict() alone.")
    return dict(found)
