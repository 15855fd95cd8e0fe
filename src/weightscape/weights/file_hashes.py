"""Hashes of files, remembered as long as the files stay as they are. Loads no torch.

As build tools do, a file counts as unchanged while its path, size, inode and time of change are the same, so that
planning a study over terabytes of weights reads them once. A file changed less than two seconds before it was read is
not remembered: it might change again within the resolution of the clock. The memory is ``files.sqlite`` in
``~/.cache/weightscape`` (``WEIGHTSCAPE_CACHE`` names another folder); it can be removed at any time, and where it
cannot be written nothing is lost but time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from weightscape.errors import StoreError

_SETTLED_SECONDS = 2.0
_READERS = 4
_TABLE = "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, identity TEXT, hash TEXT)"


def file_hash(path: str | Path) -> str:
    """Return the blake2b hash of a file's content, 32 hexadecimal digits.

    Raises:
        StoreError: If the file cannot be read.
    """
    return file_hashes([path])[0]


def file_hashes(paths: Iterable[str | Path]) -> list[str]:
    """Return the hashes of many files, reading several at a time those that are not known.

    Raises:
        StoreError: If a file cannot be read.
    """
    files = [os.path.abspath(path) for path in paths]
    identities = {path: _identity(path) for path in files}
    with _memory() as memory:
        known = _known(memory, identities)
        new = [path for path in identities if path not in known]
        with ThreadPoolExecutor(_READERS) as pool:
            made = dict(zip(new, pool.map(_hashed, new), strict=True))
        _remember(memory, {path: (identities[path], made[path]) for path in new if _is_settled(path, identities[path])})
    return [{**known, **made}[path] for path in files]


def _hashed(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error


def _identity(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _is_settled(path: str, before: str) -> bool:
    """Return whether a file did not change while it was read, and not just before."""
    unchanged = _identity(path) == before
    return unchanged and time.time() - int(before.split()[1]) * 1e-9 > _SETTLED_SECONDS


@contextlib.contextmanager
def _memory() -> Iterator[sqlite3.Connection | None]:
    folder = os.environ.get("WEIGHTSCAPE_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "weightscape"
    )
    connection: sqlite3.Connection | None = None
    with contextlib.suppress(OSError, sqlite3.Error):
        os.makedirs(folder, exist_ok=True)
        connection = sqlite3.connect(os.path.join(folder, "files.sqlite"), timeout=5)
        connection.execute(_TABLE)
    try:
        yield connection
    finally:
        if connection is not None:
            connection.close()


def _known(memory: sqlite3.Connection | None, identities: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if memory is None:
        return found
    with contextlib.suppress(sqlite3.Error):
        for path, identity in identities.items():
            row = memory.execute("SELECT hash FROM files WHERE path = ? AND identity = ?", (path, identity)).fetchone()
            if row is not None:
                found[path] = str(row[0])
    return found


def _remember(memory: sqlite3.Connection | None, made: dict[str, tuple[str, str]]) -> None:
    if memory is None or not made:
        return
    with contextlib.suppress(sqlite3.Error), memory:
        rows = [(path, identity, text) for path, (identity, text) in made.items()]
        memory.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)
