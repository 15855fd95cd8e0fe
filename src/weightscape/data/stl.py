"""Read the binary files of STL-10: images column by column, labels from 1 to 10."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from weightscape.data.files import read_content
from weightscape.errors import DataError


def read_stl_images(path: Path, shape: tuple[int, int, int]) -> Tensor:
    """Return the images ``(n, C, H, W)`` uint8; the file has each channel column after column.

    Raises:
        DataError: If the file is empty or ends inside an image.
    """
    channels, height, width = shape
    content, length = read_content(path), channels * height * width
    if not content or len(content) % length:
        raise DataError(
            f"{path} is truncated or no file of STL-10: expected images of {length} bytes, received {len(content)} "
            "bytes. Fetch it again."
        )
    pixels = torch.frombuffer(content, dtype=torch.uint8).view(-1, channels, width, height)
    return pixels.transpose(2, 3).contiguous()


def read_stl_labels(path: Path) -> Tensor:
    """Return the labels ``(n,)`` int64, counted from 0; the file counts from 1.

    Raises:
        DataError: If the file is empty.
    """
    content = read_content(path)
    if not content:
        raise DataError(f"{path} is empty. Fetch it again.")
    return torch.frombuffer(content, dtype=torch.uint8).long() - 1
