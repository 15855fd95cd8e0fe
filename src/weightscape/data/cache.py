"""A folder of decoded data sets, so that the next process maps them into memory instead of decoding them again.

Nothing depends on it: what is not there is decoded, what cannot be written is left out. Several processes may read and
write at once: a data set is written under a name of its own and published by one rename, and never changed afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_VARIABLE = "WEIGHTSCAPE_CACHE"


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
    import numpy
    import torch

    folder = _place(key)
    if folder is None or not folder.is_dir():
        return None
    try:
        names = json.loads((folder / "arrays.json").read_text())
        return {
            name: torch.from_numpy(numpy.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False))
            for name in names
        }
    except (OSError, ValueError, EOFError):
        # Damaged by something outside this package: out of the way, so that it is decoded again.
        shutil.rmtree(folder, ignore_errors=True)
        return None


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
        with (folder / "arrays.json").open("w") as file:
            json.dump(list(arrays), file)
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
