"""The files that ``torch.save`` and safetensors write: what is in them and where, without torch and without reading it.

Known are the zip format (since torch 1.6), the sequence of pickles before it, and safetensors. The headers of a file
are read (some kilobytes); the numbers of the tensors stay where they are.
"""

from __future__ import annotations

import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from weightscape.errors import StoreError
from weightscape.weights.inert import StorageRef, TensorRef, read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
_LARGEST_HEADER = 100_000_000
_SAVE_AGAIN = (
    "Open it once with the code that wrote it and write torch.save(model.state_dict(), path), or a safetensors file."
)
WIDTHS = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "bool": 1, "complex64": 8, "complex128": 16}
WIDTHS |= {"int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8}
WIDTHS |= dict.fromkeys(("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"), 1)
"""Bytes of a number of each type, as torch calls it."""
_SAFETENSORS = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"}
_SAFETENSORS |= {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "C64": "complex64"}
_SAFETENSORS |= {
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


class Unfinished(StoreError):
    """A file that ends too early: a run is still writing it, or was stopped while it did."""


@dataclass(frozen=True)
class Archive:
    """What a file holds.

    Attributes:
        path: The file.
        format: How it is written.
        content: Its content, with :class:`TensorRef` for tensors and :class:`Inert` for objects.
        place: Returns where the bytes of a storage begin in the file.
        metadata: Texts by name, of safetensors.
    """

    path: Path
    format: Literal["zip", "pickles", "safetensors"]
    content: Any
    place: Callable[[StorageRef], int]
    metadata: dict[str, str]


def open_archive(path: str | Path) -> Archive:
    """Read the headers of a file of weights.

    Raises:
        Unfinished: If the file ends too early.
        StoreError: If it is missing, damaged or of another kind; the message says what to do.
    """
    path = Path(os.path.abspath(path))  # its tensors are read later, perhaps from another folder
    try:
        with path.open("rb") as file:
            return _open(path, file)
    except Unfinished:
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    except StoreError as error:
        raise StoreError(f"{path} cannot be read: {str(error).rstrip('.')}.") from error
    except Exception as error:  # a damaged file fails in any way at all
        raise StoreError(f"{path} cannot be read: it is damaged ({error!r}).") from error


def _open(path: Path, file: BinaryIO) -> Archive:
    start = file.read(16)
    file.seek(0)
    if not start:
        raise Unfinished(f"{path} cannot be read: it is empty, and may still be being written.")
    if start.startswith(b"PK\x03\x04"):
        return _zip(path, file)
    # First, since the length of the header, with which safetensors begins, may begin like a pickle.
    if start[8:9] == b"{":
        return _safetensors(path, file)
    if start.startswith(b"\x80"):
        return _pickles(path, file)
    if path.suffix == ".tar" and tarfile.is_tarfile(file):
        raise StoreError(f"it is a tar archive of torch before 0.1.10 (2017). {_SAVE_AGAIN}")
    raise StoreError("it is neither a file of torch.save nor safetensors")


def _zip(path: Path, file: BinaryIO) -> Archive:
    try:
        members = {info.filename: info for info in zipfile.ZipFile(file).infolist()}
    except zipfile.BadZipFile as error:
        # The table of contents is the last thing that is written.
        raise Unfinished(f"{path} cannot be read: it ends too early, and may still be being written.") from error
    root = next((name.removesuffix("data.pkl") for name in members if name.endswith("data.pkl")), None)
    if root is None:
        raise StoreError("it is a zip archive, but not one of torch.save")
    if f"{root}constants.pkl" in members:
        raise StoreError(f"it is a TorchScript program, not a state dict. {_SAVE_AGAIN}")
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise StoreError(f"its tensors are compressed, which torch.save never does. {_SAVE_AGAIN}")
    order = members.get(f"{root}byteorder")
    if order is not None and _member(file, order) != b"little":
        raise StoreError(f"its numbers are big-endian. {_SAVE_AGAIN}")
    info = members[f"{root}data.pkl"]
    file.seek(_start(file, info))
    content = read_pickle(file)

    def place(storage: StorageRef) -> int:
        member = members.get(f"{root}data/{storage.key}")
        if member is None or member.file_size < storage.count * WIDTHS.get(storage.dtype, 1):
            raise StoreError(f"{path} is damaged: the storage {storage.key!r} is missing or too short.")
        with path.open("rb") as reopened:
            return _start(reopened, member)

    return Archive(path, "zip", content, place, {})


def _start(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    file.seek(info.header_offset)
    header = file.read(30)
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise StoreError("it is damaged: its table of contents points to nothing")
    name, extra = struct.unpack("<HH", header[26:30])
    return info.header_offset + 30 + int(name) + int(extra)


def _member(file: BinaryIO, info: zipfile.ZipInfo) -> bytes:
    file.seek(_start(file, info))
    return file.read(min(info.file_size, 64))


def _pickles(path: Path, file: BinaryIO) -> Archive:
    magic = _next(path, file)
    if magic != _MAGIC:
        raise StoreError(f"it is a pickle that torch.save did not write. {_SAVE_AGAIN}")
    _, system, content = _next(path, file), _next(path, file), _next(path, file)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise StoreError(f"its numbers are big-endian. {_SAVE_AGAIN}")
    widths = {ref.storage.key: WIDTHS.get(ref.storage.dtype, 1) for ref in _references(content)}
    places: dict[str, int] = {}
    for key in _next(path, file):
        count = file.read(8)
        if len(count) < 8:
            raise Unfinished(f"{path} cannot be read: it ends too early, and may still be being written.")
        places[str(key)] = file.tell()
        file.seek(struct.unpack("<q", count)[0] * widths.get(str(key), 1), 1)
    if file.tell() > path.stat().st_size:
        raise Unfinished(f"{path} cannot be read: it ends too early, and may still be being written.")
    return Archive(path, "pickles", content, lambda storage: places[storage.key], {})


def _next(path: Path, file: BinaryIO) -> Any:
    try:
        return read_pickle(file)
    except StoreError as error:
        if isinstance(error.__cause__, EOFError) or "truncated" in str(error) or "Ran out of input" in str(error):
            raise Unfinished(f"{path} cannot be read: it ends too early, and may still be being written.") from error
        raise


def _references(content: Any) -> list[TensorRef]:
    found, seen, left = [], set(), [content]
    while left:
        value = left.pop()
        if isinstance(value, TensorRef):
            found.append(value)
        elif id(value) not in seen:
            seen.add(id(value))
            left += _members(value)
    return found


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if hasattr(value, "arguments"):
        return [value.arguments, value.state, value.items]
    return []


def _safetensors(path: Path, file: BinaryIO) -> Archive:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LARGEST_HEADER:
        raise StoreError("it is damaged, or not a safetensors file: its header would be larger than 100 MB")
    text = file.read(length)
    if len(text) < length:
        raise Unfinished(f"{path} cannot be read: it ends too early, and may still be being written.")
    try:
        header = json.loads(text)
        metadata = {str(name): str(value) for name, value in (header.pop("__metadata__", None) or {}).items()}
        entries = {name: (entry["dtype"], entry["shape"], entry["data_offsets"]) for name, entry in header.items()}
        end = max((int(offsets[1]) for _, _, offsets in entries.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"its header is damaged ({error!r})") from error
    if path.stat().st_size < 8 + length + end:
        raise Unfinished(f"{path} cannot be read: it ends too early, and may still be being written.")
    content = {name: _reference(name, kind, shape) for name, (kind, shape, _) in entries.items()}
    starts = {name: 8 + length + int(offsets[0]) for name, (_, _, offsets) in entries.items()}
    return Archive(path, "safetensors", content, lambda storage: starts[storage.key], metadata)


def _reference(name: str, kind: str, shape: list[int]) -> TensorRef:
    count, stride = 1, []
    for size in reversed(shape):
        stride.append(count)
        count *= size
    dtype = _SAFETENSORS.get(kind, kind)
    return TensorRef(dtype, tuple(shape), tuple(reversed(stride)), 0, StorageRef(name, dtype, count))
