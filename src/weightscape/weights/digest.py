"""The identity of tensors by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash (blake2b, 32 hexadecimal digits) of names, types, shapes and values, in the order given.

    Neither the device nor the memory layout counts. Takes one tensor at a time.
    """
    hasher = hashlib.blake2b(digest_size=16)
    for name, tensor in tensors.items():
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        hasher.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()
