"""Small stand-ins for the real data sets, laid out as the real files are."""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from weightscape.data import official
from weightscape.data.entries import ENTRIES, Entry

TRAIN, TEST = 200, 50


def idx_bytes(array: np.ndarray) -> bytes:
    """The IDX encoding, written from its definition."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Random images and balanced labels under the official file names."""
    random = np.random.default_rng(seed)
    arrays = {}
    for prefix, count in (("train", TRAIN), ("t10k", TEST)):
        arrays[f"{prefix}-images-idx3-ubyte"] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{prefix}-labels-idx1-ubyte"] = random.permutation(np.arange(count) % 10).astype(np.uint8)
    return arrays


def write_idx(folder: Path, *, compress: bool, seed: int = 0) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = idx_arrays(seed)
    for name, array in arrays.items():
        content = idx_bytes(array)
        path = folder / (f"{name}.gz" if compress else name)
        path.write_bytes(gzip.compress(content) if compress else content)
    return arrays


def encoded(pixels: np.ndarray, encoding: str = "PNG") -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, encoding)
    return file.getvalue()


def write_parquet(
    path: Path,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    image: str = "img",
    encoding: str = "PNG",
    **options: object,
) -> None:
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": encoded(pixels, encoding), "path": None} for pixels in images]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({image: pyarrow.array(rows, kind), "label": pyarrow.array(labels.tolist(), pyarrow.int64())})
    pyarrow.parquet.write_table(table, path, **options)


def colour_arrays(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), np.arange(count) % 10


@pytest.fixture(autouse=True)
def fresh_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees another's files, nor the machine's own data folders."""
    official.forget()
    for name in [name for name in os.environ if name.startswith("WEIGHTSCAPE_DATA")]:
        monkeypatch.delenv(name)


@pytest.fixture
def small_catalogue(monkeypatch: pytest.MonkeyPatch) -> dict[str, Entry]:
    """The catalogue with 200 training and 50 test images per data set, and no official digests."""
    for name in ("mnist", "fashion_mnist", "cifar10", "cifar100", "cifar100_coarse", "svhn", "stl10"):
        small = dataclasses.replace(
            ENTRIES[name], train_size=TRAIN, test_size=TEST, digests={}, system_folders=(), mirrors=()
        )
        monkeypatch.setitem(ENTRIES, name, small)
    return ENTRIES
