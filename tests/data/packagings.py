"""Write the same images in every packaging, from the descriptions of the formats."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .conftest import TEST, TRAIN, write_parquet


class Content:
    """Random images ``(n, 32, 32, 3)`` with fine and coarse labels."""

    def __init__(self, *, seed: int = 0, classes: int = 10, side: int = 32) -> None:
        random = np.random.default_rng(seed)
        self.images = {
            part: random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
            for part, count in (("train", TRAIN), ("test", TEST))
        }
        self.labels = {part: random.permutation(len(images)) % classes for part, images in self.images.items()}
        self.coarse = {part: labels * 7 % 20 for part, labels in self.labels.items()}


def planes(images: np.ndarray) -> np.ndarray:
    """Red, green and blue planes in row-major order, an image a row."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def write_cifar10_binary(folder: Path, content: Content) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows, part in _batches():
        labels = content.labels[part][rows, None].astype(np.uint8)
        (folder / f"{name}.bin").write_bytes(np.hstack([labels, planes(content.images[part][rows])]).tobytes())


def write_cifar10_python(folder: Path, content: Content, *, protocol: int = 2, text: type = bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows, part in _batches():
        batch = {"data": planes(content.images[part][rows]), "labels": content.labels[part][rows].tolist()}
        (folder / name).write_bytes(pickled(batch, protocol=protocol, text=text))


def write_cifar100_binary(folder: Path, content: Content) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, images in content.images.items():
        labels = np.stack([content.coarse[part], content.labels[part]], 1).astype(np.uint8)
        (folder / f"{part}.bin").write_bytes(np.hstack([labels, planes(images)]).tobytes())


def write_cifar100_python(folder: Path, content: Content) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, images in content.images.items():
        batch = {
            "filenames": ["a.png"] * len(images),
            "batch_label": "training batch 1 of 1",
            "data": planes(images),
            "fine_labels": content.labels[part].tolist(),
            "coarse_labels": content.coarse[part].tolist(),
        }
        (folder / part).write_bytes(pickled(batch))


def write_cifar10_parquet(folder: Path, content: Content) -> None:
    for part, images in content.images.items():
        write_parquet(folder / f"{part}-00000-of-00001.parquet", images, content.labels[part])


def write_cifar100_parquet(folder: Path, content: Content) -> None:
    import pyarrow.parquet

    for part, images in content.images.items():
        path = folder / f"{part}-00000-of-00001.parquet"
        write_parquet(path, images, content.labels[part])
        table = pyarrow.parquet.read_table(path).rename_columns(["img", "fine_label"])
        table = table.append_column("coarse_label", pyarrow.array(content.coarse[part].tolist()))
        pyarrow.parquet.write_table(table, path)


def write_svhn(folder: Path, content: Content, **changes: Any) -> None:
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    for part, images in content.images.items():
        labels = content.labels[part]
        held = {"X": images.transpose(1, 2, 3, 0), "y": np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)}
        savemat(folder / f"{part}_32x32.mat", held | changes, do_compression=True)


def write_stl10(folder: Path, content: Content) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, images in content.images.items():
        (folder / f"{part}_X.bin").write_bytes(np.ascontiguousarray(images.transpose(0, 3, 2, 1)).tobytes())
        (folder / f"{part}_y.bin").write_bytes((content.labels[part] + 1).astype(np.uint8).tobytes())


def pickled(batch: dict[str, Any], *, protocol: int = 2, text: type = bytes) -> bytes:
    """Pickle a batch: as Python 2 did (protocol 2, texts as bytes), or as Python 3 does."""
    if text is bytes and protocol == 2:
        return b"\x80\x02" + _as_python_2(batch) + b"."
    keys = batch if text is str else {name.encode(): value for name, value in batch.items()}
    return pickle.dumps(keys, protocol)


def _as_python_2(value: Any) -> bytes:
    """The instructions of Python 2's pickles, written from their definition."""
    if isinstance(value, dict):
        return b"}(" + b"".join(_as_python_2(key) + _as_python_2(member) for key, member in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_as_python_2, value)) + b"e"
    if isinstance(value, int):
        return b"J" + value.to_bytes(4, "little", signed=True)
    if isinstance(value, str):
        value = value.encode("latin1")
    if isinstance(value, bytes):
        return b"T" + len(value).to_bytes(4, "little") + value
    assert isinstance(value, np.ndarray)
    kind = value.dtype.str.lstrip("|<").encode()
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    dtype = b"cnumpy\ndtype\n(U\x02" + kind + b"K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"(" + b"".join(map(_as_python_2, value.shape)) + b"t"
    return array + b"(K\x01" + shape + dtype + b"\x89" + _as_python_2(value.tobytes()) + b"tb"


def _batches() -> list[tuple[str, slice, str]]:
    step = TRAIN // 5
    named = [(f"data_batch_{number + 1}", slice(number * step, (number + 1) * step), "train") for number in range(5)]
    return [*named, ("test_batch", slice(None), "test")]


WRITERS: dict[str, dict[str, tuple[str, Callable[[Path, Content], None]]]] = {
    "cifar10": {
        "parquet": ("cifar10", write_cifar10_parquet),
        "cifar-binary": ("cifar-10-batches-bin", write_cifar10_binary),
        "cifar-python": ("cifar10/cifar-10-batches-py", write_cifar10_python),
    },
    "cifar100": {
        "parquet": ("cifar100/cifar100", write_cifar100_parquet),
        "cifar-binary": ("cifar100/cifar-100-binary", write_cifar100_binary),
        "cifar-python": ("cifar-100-python", write_cifar100_python),
    },
    "svhn": {
        "svhn-mat": ("svhn", write_svhn),
        "parquet": ("svhn/cropped_digits", write_cifar10_parquet),
    },
}
