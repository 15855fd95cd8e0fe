"""Tensors of a file, mapped into memory: their numbers are read when they are looked at."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from weightscape.errors import StoreError
from weightscape.weights.algebra import Weights
from weightscape.weights.archives import WIDTHS, Archive
from weightscape.weights.inert import TensorRef

_RECENT_SECONDS = 600.0
"""A loop that still runs may write over a file of torch.save in place, which would end a process that has it mapped."""


def load_tensors(archive: Archive, tensors: Mapping[str, TensorRef], device: str | torch.device = "cpu") -> Weights:
    """Return the tensors of a file.

    On the CPU they share the memory of the file, privately: writing to a tensor does not change the file. Tensors that
    shared one storage when they were saved share it again, and tied ones are the same tensor.

    Raises:
        StoreError: If the file is gone, or a tensor does not fit into its storage.
    """
    if not tensors:
        return {}
    mapped = _mapped(archive)
    storages: dict[str, Tensor] = {}
    made: dict[TensorRef, Tensor] = {}
    loaded: Weights = {}
    for name, ref in tensors.items():
        if ref not in made:
            _check_bounds(archive, name, ref)
            made[ref] = _tensor(archive, ref, mapped, storages).to(device)
        loaded[name] = made[ref]
    return loaded


def _mapped(archive: Archive) -> torch.UntypedStorage:
    try:
        size, changed = archive.path.stat().st_size, archive.path.stat().st_mtime
        if archive.format != "safetensors" and time.time() - changed < _RECENT_SECONDS and size:
            return torch.frombuffer(bytearray(archive.path.read_bytes()), dtype=torch.uint8).untyped_storage()
        mapped = torch.UntypedStorage.from_file(str(archive.path), False, size)
    except (OSError, RuntimeError) as error:
        raise StoreError(f"{archive.path} cannot be read any more: {error}.") from error
    assert isinstance(mapped, torch.UntypedStorage)
    return mapped


def _check_bounds(archive: Archive, name: str, ref: TensorRef) -> None:
    valid = ref.dtype in WIDTHS and len(ref.shape) == len(ref.stride)
    valid = valid and min((*ref.shape, *ref.stride, ref.offset), default=0) >= 0
    last = ref.offset + sum((length - 1) * step for length, step in zip(ref.shape, ref.stride, strict=valid))
    available = ref.storage.count * WIDTHS.get(ref.storage.dtype, 1) // WIDTHS.get(ref.dtype, 1)
    if not valid or (0 not in ref.shape and last >= available):
        raise StoreError(f"{archive.path} is damaged: the tensor {name!r} does not fit into its storage.")


def _tensor(archive: Archive, ref: TensorRef, mapped: torch.UntypedStorage, storages: dict[str, Tensor]) -> Tensor:
    if ref.storage.key not in storages:
        storages[ref.storage.key] = _bytes(archive, ref, mapped)
    dtype: torch.dtype = getattr(torch, ref.dtype)
    return storages[ref.storage.key].view(dtype).as_strided(ref.shape, ref.stride, ref.offset)


def _bytes(archive: Archive, ref: TensorRef, mapped: torch.UntypedStorage) -> Tensor:
    start = archive.place(ref.storage)
    length = ref.storage.count * WIDTHS[ref.storage.dtype]
    if start + length > mapped.nbytes():
        raise StoreError(f"{archive.path} is damaged: it ends before its tensors do.")
    if start % WIDTHS[ref.dtype] == 0:
        part: torch.UntypedStorage = mapped[start : start + length]
        return torch.empty(0, dtype=torch.uint8).set_(part)
    # Numbers must begin at a multiple of their width, which the sequence of pickles does not guarantee.
    return torch.frombuffer(bytearray(_read(archive, start, length)), dtype=torch.uint8) if length else _nothing()


def _read(archive: Archive, start: int, length: int) -> bytes:
    with archive.path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _nothing() -> Tensor:
    return torch.empty(0, dtype=torch.uint8)
