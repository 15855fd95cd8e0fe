"""Read the IDX format of MNIST: a magic number, big-endian sizes, then bytes in row-major order."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import torch
from torch import Tensor

from weightscape.data.files import read_content
from weightscape.errors import DataError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Return the uint8 array of an IDX file, gzipped or not.

    Args:
        path: The file; a name that ends in ``.gz`` is decompressed.
        dimensions: Number of axes the array must have: 3 for images, 1 for labels.

    Raises:
        DataError: If the file is truncated, damaged, too long or not of this kind.
    """
    content = read_content(path)
    expected = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if content[:4] != expected:
        raise DataError(
            f"{path} does not start with the magic number {expected.hex()} of an IDX file of bytes with "
            f"{dimensions} dimension(s), but with {content[:4].hex() or 'nothing'}. Fetch it again."
        )
    offset = 4 + 4 * dimensions
    if len(content) < offset:
        raise DataError(f"{path} is truncated: it ends inside its header of {offset} bytes. Fetch it again.")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    present, announced = len(content) - offset, math.prod(shape)
    if present != announced:
        fault = "is truncated" if present < announced else "is too long"
        raise DataError(
            f"{path} {fault}: its header announces {' x '.join(map(str, shape))} = {announced} bytes, "
            f"it holds {present}. Fetch it again."
        )
    if not announced:
        raise DataError(f"{path} is empty: its header announces {' x '.join(map(str, shape))} bytes.")
    return torch.frombuffer(content, dtype=torch.uint8, offset=offset).view(shape)
