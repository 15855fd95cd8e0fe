"""How much memory activations take, known before they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from weightscape.batch_forms import Batch, as_batch, moved
from weightscape.batches import Batches
from weightscape.errors import DataError
from weightscape.repeatable import Cuttable

MEMORY_LIMIT = 8 << 30
"""Bytes that activations may take unless another limit is given: 8 GiB."""


def check_memory(needed: int, limit: int, what: str) -> None:
    """Check that something fits into memory.

    Args:
        needed: Its bytes.
        limit: The bytes that it may take.
        what: What it is, as the subject of a sentence in the plural.

    Raises:
        DataError: If it does not.
    """
    if needed > limit:
        raise DataError(
            f"Expected what fits into {in_words(limit)} of memory; {what} need {in_words(needed)}. Take fewer layers "
            "or samples, smaller batches, or the form 'pooled'; or raise the limit: limit=bytes."
        )


def in_words(size: int) -> str:
    """Return a number of bytes as people read it.

    >>> in_words(3 << 29)
    '1.5 GiB'
    """
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"


def expected_count(batches: Any) -> int | None:
    """Return the number of samples that one pass over batches will give; None where only reading them tells."""
    source = batches.source if isinstance(batches, Batches) else batches
    if isinstance(source, Cuttable):
        return len(source) if isinstance(source, Sized) else None
    if isinstance(source, tuple | list):
        return sum(as_batch(moved(batch, None, torch.preserve_format)).count for batch in source)
    if isinstance(source, DataLoader) and source.batch_size is not None and isinstance(source.sampler, Sized):
        count = len(source.sampler)
        return count - count % source.batch_size if source.drop_last else count
    return None


def head_of(batch: Batch, count: int) -> Batch:
    """Return the first samples of a batch; the whole batch where its form does not say how to cut it."""
    return as_batch(_cut(batch.content, count, batch.count)) if batch.count > count else batch


def _cut(content: Any, count: int, whole: int) -> Any:
    if isinstance(content, Tensor):
        return content[:count] if content.ndim and len(content) == whole else content
    if isinstance(content, Mapping):
        return {name: _cut(member, count, whole) for name, member in content.items()}
    if isinstance(content, tuple | list):
        members = [_cut(member, count, whole) for member in content]
        return type(content)(*members) if hasattr(content, "_fields") else tuple(members)
    return content
