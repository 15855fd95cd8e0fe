"""Weights on disk: safetensors, with tied tensors stored once."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from weightscape.errors import StoreError
from weightscape.weights.algebra import Weights

_TIE = "tie:"


def save_weights(path: str | Path, weights: Weights) -> None:
    """Write weights to a safetensors file.

    safetensors refuses shared and non-contiguous storage, so tensors are made contiguous and tied tensors are written
    once; the ties are recorded in the metadata and restored by :func:`load_weights`.
    """
    first: dict[tuple[int, torch.Size, tuple[int, ...], int], str] = {}
    stored: Weights = {}
    ties: dict[str, str] = {}
    for name, tensor in weights.items():
        identity = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.storage_offset())
        if tensor.numel() and identity in first:
            ties[_TIE + name] = first[identity]
        else:
            first[identity] = name
            stored[name] = tensor.detach().cpu().contiguous().clone()
    save_file(stored, str(path), metadata={"order": "\n".join(weights), **ties})


def load_weights(path: str | Path, device: str = "cpu") -> Weights:
    """Read weights from a safetensors file, in the order in which they were written where that is recorded.

    Raises:
        StoreError: If the file is missing or is not a complete safetensors file.
    """
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
