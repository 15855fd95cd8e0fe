"""A folder of decoded data sets, so that the next process maps them into memory instead of decoding them again.

Nothing depends on it: what is not there is decoded, what cannot be written is left out. Several processes may read and
write at once: a data set is written under a name of its own and published by one rename, and never changed afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_VARIABLE = "WEIGHTSCAPE_CACHE"
_NO_RESERVE = 0x4000
"""Linux's MAP_NORESERVE, which Python does not name in all versions."""


def cache_folder() -> Path | None:
    """Return the folder: ``$WEIGHTSCAPE_CACHE``, else ``~/.cache/weightscape/decoded``; None where it says ``off``."""
    chosen = os.environ.get(_VARIABLE)
    if chosen == "off":
        return None
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "weightscape" / "decoded"


def recall_arrays(key: str) -> dict[str, Tensor] | None:
    """Return the arrays kept under a key, mapped into memory copy-on-write, or None.

    Processes that map the same arrays share one copy of them in memory. Writing to a tensor changes neither the file
    nor what other processes see.
    """
    import torch

    folder = _place(key)
    if folder is None or not folder.is_dir():
        return None
    try:
        names = json.loads((folder / "arrays.json").read_text())
        return {name: torch.from_numpy(_mapped(folder / f"{name}.npy")) for name in names}
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return None  # it is whole, but does not fit into the address space
        # Damaged by something outside this package: out of the way, so that it is decoded again.
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _mapped(path: Path) -> Any:
    """Return an array of a file, copy-on-write, of any size: without memory being set aside for what may be written.

    Raises:
        ValueError: If the file is no array or shorter than it says.
    """
    import numpy

    if not sys.platform.startswith("linux"):
        return numpy.load(path, mmap_mode="c", allow_pickle=False)
    header = numpy.load(path, mmap_mode="r", allow_pickle=False)
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE | _NO_RESERVE, prot=protection)
    flat = numpy.frombuffer(memory, header.dtype, header.size, header.offset)
    return flat.reshape(header.shape)


def keep_arrays(key: str, arrays: dict[str, Tensor]) -> None:
    """Keep arrays under a key, where the folder can be written."""
    import numpy

    final = _place(key)
    if final is None:
        return
    with _temporary(final.parent) as folder:
        if folder is None:
            return
        for name, array in arrays.items():
            with (folder / f"{name}.npy").open("wb") as file:
                numpy.save(file, array.numpy())
                _flush(file)
        _publish(folder, list(arrays), final)


def filled_arrays(key: str, shapes: dict[str, Any], fill: Callable[[dict[str, Any]], None]) -> dict[str, Tensor] | None:
    """Return the bytes kept under a key; where there are none, arrays are made on the disk, filled, and kept.

    For arrays that the memory may not hold.

    Args:
        key: Where they are kept.
        shapes: Shape of each array by name.
        fill: Writes into the arrays it gets, by name; called if they are not there.

    Returns:
        The arrays, mapped as by :func:`recall_arrays`; None where the disk refuses them.
    """
    import numpy

    if found := recall_arrays(key):
        return found
    final = _place(key)
    if final is None:
        return None
    with _temporary(final.parent) as folder:
        if folder is None:
            return None
        arrays = {}
        for name, shape in shapes.items():
            # Blocks are allocated at once: a full disk is found out here, and not as a crash while pages are written.
            arrays[name] = numpy.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype="uint8", shape=shape)
            _allocate(folder / f"{name}.npy")
        fill(arrays)
        for array in arrays.values():
            array.flush()
        _publish(folder, list(arrays), final)
    return recall_arrays(key)


def _allocate(path: Path) -> None:
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise  # other systems and file systems cannot say


def _publish(folder: Path, names: list[str], final: Path) -> None:
    with (folder / "arrays.json").open("w") as file:
        json.dump(names, file)
        _flush(file)
    os.rename(folder, final)  # fails where another process was faster, which is as good


def recall_text(key: str) -> str | None:
    """Return the text kept under a key, or None."""
    place = _place(key)
    try:
        return None if place is None else place.with_suffix(".txt").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def keep_text(key: str, text: str) -> None:
    """Keep a short text under a key, where the folder can be written."""
    final = _place(key)
    if final is None:
        return
    with _temporary(final.parent) as folder:
        if folder is not None:
            (folder / "text").write_text(text, encoding="ascii")
            os.replace(folder / "text", final.with_suffix(".txt"))


def _place(key: str) -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / key


@contextlib.contextmanager
def _temporary(parent: Path) -> Any:
    """Give a folder of this process's own; whatever the disk refuses is no error, and nothing is left behind."""
    folder: Path | None = None
    with contextlib.suppress(OSError):
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".part-", dir=parent))
    try:
        with contextlib.suppress(OSError):
            yield folder
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
