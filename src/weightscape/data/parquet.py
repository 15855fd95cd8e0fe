"""Read images and labels from parquet files as the Hugging Face hub lays them out. Loads no torch when imported."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightscape.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "labels")
_PNG = b"\x89PNG"


def is_lossless(image: bytes) -> bool:
    """Return whether an image file is PNG, so that its pixels are the original ones."""
    return image.startswith(_PNG)


def encoded_rows(paths: Sequence[Path], label_columns: Sequence[str] = _LABEL_COLUMNS) -> Iterator[tuple[bytes, int]]:
    """Yield each row's image file (PNG, JPEG, ...) and label, shard by shard.

    Args:
        paths: The shards, in order.
        label_columns: Names that the column of labels may have.

    Raises:
        DataError: If a file is no parquet file, or lacks the columns, or a row lacks a value.
    """
    import pyarrow
    import pyarrow.parquet

    for path in paths:
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                image, label = _columns(file.schema_arrow, path, label_columns)
                for batch in file.iter_batches(batch_size=4096, columns=[image, label]):
                    yield from _rows(batch.column(image), batch.column(label), path)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise DataError(f"{path} is no complete parquet file: {error}. Fetch it again.") from error


def _columns(schema: Any, path: Path, label_columns: Sequence[str]) -> tuple[str, str]:
    images = [name for name in _IMAGE_COLUMNS if name in schema.names]
    labels = [name for name in label_columns if name in schema.names]
    if not images or not labels:
        raise DataError(
            f"{path} has the columns {', '.join(schema.names)}; expected images ({' or '.join(_IMAGE_COLUMNS)}: "
            f"bytes, or a struct with a field 'bytes') and labels ({' or '.join(label_columns)})."
        )
    return images[0], labels[0]


def _rows(images: Any, labels: Any, path: Path) -> Iterator[tuple[bytes, int]]:
    if hasattr(images, "field"):
        images = images.field("bytes")
    for row, (image, label) in enumerate(zip(images.to_pylist(), labels.to_pylist(), strict=True)):
        if not isinstance(image, bytes) or label is None:
            raise DataError(f"{path} has a row without an embedded image or label (row {row} of a batch).")
        yield image, int(label)


def read_parquet(
    paths: Sequence[Path], shape: tuple[int, int, int], label_columns: Sequence[str] = _LABEL_COLUMNS
) -> tuple[Tensor, Tensor]:
    """Return all images ``(n, C, H, W)`` uint8 and labels ``(n,)`` int64 of one split.

    Raises:
        DataError: If an image cannot be decoded or has another shape.
    """
    import torch

    channels, height, width = shape
    pixels = bytearray()
    labels: list[int] = []
    for row, (image, label) in enumerate(encoded_rows(paths, label_columns)):
        pixels += _decode(image, shape, f"{', '.join(map(str, paths))}, row {row}")
        labels.append(label)
    if not labels:
        raise DataError(f"{', '.join(map(str, paths))} holds no rows.")
    images = torch.frombuffer(pixels, dtype=torch.uint8).view(-1, height, width, channels)
    return images.permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def _decode(image: bytes, shape: tuple[int, int, int], where: str) -> bytes:
    from PIL import Image, UnidentifiedImageError

    channels, height, width = shape
    try:
        with Image.open(io.BytesIO(image), formats=("PNG", "JPEG")) as picture:
            if picture.size != (width, height):
                raise DataError(f"{where}: expected {width} x {height} pixels, received {picture.size}.")
            return picture.convert("RGB" if channels == 3 else "L").tobytes()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(f"{where}: the image is damaged: {error}. Fetch the file again.") from error
