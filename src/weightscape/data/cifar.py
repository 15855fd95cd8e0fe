"""Read the official CIFAR-10 and CIFAR-100 files: records of bytes, or pickled batches.

Source: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weightscape.data.files import read_content
from weightscape.data.unpickling import ByteArray, restricted_load
from weightscape.errors import DataError

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE


def read_cifar_binary(paths: Sequence[Path], labels_per_image: int, label: int) -> tuple[Tensor, Tensor]:
    """Return all images ``(n, 3, 32, 32)`` uint8 and labels ``(n,)`` int64 of one split.

    A record is the labels, one byte each, and the red, green and blue pixels in row-major order.

    Args:
        paths: The files, in order.
        labels_per_image: 1 for CIFAR-10; 2 for CIFAR-100, coarse before fine.
        label: Which of them is read.

    Raises:
        DataError: If a file is empty or ends inside a record.
    """
    parts = [_records(path, labels_per_image + _PIXELS) for path in paths]
    records = parts[0] if len(parts) == 1 else torch.cat(parts)
    images = records[:, labels_per_image:].reshape(-1, 3, _SIDE, _SIDE)
    return images, records[:, label].long()


def _records(path: Path, length: int) -> Tensor:
    content = read_content(path)
    if not content or len(content) % length:
        raise DataError(
            f"{path} is truncated or no CIFAR file: expected records of {length} bytes, received {len(content)} bytes, "
            f"{len(content) % length} too many. Fetch it again."
        )
    return torch.frombuffer(content, dtype=torch.uint8).view(-1, length)


def read_cifar_python(paths: Sequence[Path], label_name: str) -> tuple[Tensor, Tensor]:
    """Return all images ``(n, 3, 32, 32)`` uint8 and labels ``(n,)`` int64 of one split.

    Args:
        paths: The pickled batches, in order; nothing in them is executed.
        label_name: Key of the labels: ``labels``, ``fine_labels`` or ``coarse_labels``.

    Raises:
        DataError: If a file is damaged or does not hold such a batch.
    """
    batches = [_batch(path, label_name) for path in paths]
    images, labels = (torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*batches, strict=True))
    return images, labels


def _batch(path: Path, label_name: str) -> tuple[Tensor, Tensor]:
    found = restricted_load(bytes(read_content(path)), str(path))
    pixels, labels = _member(found, "data", path), _member(found, label_name, path)
    if not isinstance(pixels, ByteArray) or len(pixels.shape) != 2 or pixels.shape[1] != _PIXELS or not pixels.shape[0]:
        shape = pixels.shape if isinstance(pixels, ByteArray) else type(pixels).__name__
        raise DataError(f"{path}: expected images as an array of n x {_PIXELS} bytes, received {shape}.")
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        raise DataError(f"{path}: expected {label_name} as a list of integers, received {type(labels).__name__}.")
    images = torch.frombuffer(bytearray(pixels.content), dtype=torch.uint8).view(-1, 3, _SIDE, _SIDE)
    try:
        return images, torch.tensor(labels, dtype=torch.int64)
    except RuntimeError as error:
        raise DataError(f"{path}: {label_name} are no labels: {error}") from error


def _member(found: Any, name: str, path: Path) -> Any:
    if isinstance(found, dict):
        for key in (name.encode(), name):
            if key in found:
                return found[key]
    held = ", ".join(map(repr, found)) if isinstance(found, dict) else type(found).__name__
    raise DataError(f"{path}: expected a dictionary with {name!r}, received {held or 'an empty one'}.")
