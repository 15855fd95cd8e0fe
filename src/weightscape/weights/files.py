"""Weights on disk: safetensors, with tied tensors stored once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from weightscape.errors import StoreError
from weightscape.weights.algebra import Weights
from weightscape.weights.archives import open_archive
from weightscape.weights.checkpoints import read_checkpoint, tied
from weightscape.weights.mapping import load_tensors

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
    """Read weights from a file, in the order in which they were written where that is recorded.

    Besides safetensors, whatever ``torch.save`` wrote is read (``.pt``, ``.pth``, ``.ckpt``, ...): a state dict, alone
    or among other things (:mod:`weightscape.weights.checkpoints`). Nothing in a file is ever executed.

    Raises:
        StoreError: If the file is missing or damaged, or holds something else.
    """
    if Path(path).suffix != ".safetensors":
        return read_checkpoint(path).load(device)
    archive = open_archive(path)
    return load_tensors(archive, tied(archive, archive.content), device)
