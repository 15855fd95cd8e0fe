"""What was found out about files, remembered as long as they stay as they are. Loads no torch.

As build tools do, a file counts as unchanged while its path, size, inode and time of change are the same, so that
planning a study over terabytes of weights reads them once. A file changed less than two seconds before it was read is
not remembered: it might change again within the resolution of the clock. The memory is ``files.sqlite`` in
``~/.cache/weightscape`` (``WEIGHTSCAPE_CACHE`` names another folder); it can be removed at any time, and where it
cannot be written nothing is lost but time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from weightscape.errors import StoreError

_SETTLED_SECONDS = 2.0
_READERS = 4
_TABLE = "CREATE TABLE IF NOT EXISTS facts (path TEXT, kind TEXT, identity TEXT, found TEXT, PRIMARY KEY (path, kind))"


def recalled(kind: str, paths: Iterable[str | Path], find_out: Callable[[str], str | None]) -> list[str | None]:
    """Return a fact about each of many files, found out several at a time where it is not known.

    Args:
        kind: Name of the fact.
        paths: The files.
        find_out: Takes the absolute path of a file; None is a fact that is not remembered.

    Raises:
        StoreError: If a file is not there.
    """
    files = [os.path.abspath(path) for path in paths]
    identities = {path: _identity(path) for path in files}
    with _memory() as memory:
        known = _known(memory, kind, identities)
        new = [path for path in identities if path not in known]
        with ThreadPoolExecutor(_READERS) as pool:
            made = dict(zip(new, pool.map(find_out, new), strict=True))
        lasting = {path: text for path, text in made.items() if text and _is_settled(path, identities[path])}
        _remember(memory, [(path, kind, identities[path], text) for path, text in lasting.items()])
    return [{**known, **made}[path] for path in files]


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


def _known(memory: sqlite3.Connection | None, kind: str, identities: dict[str, str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    if memory is None:
        return found
    query = "SELECT found FROM facts WHERE path = ? AND kind = ? AND identity = ?"
    with contextlib.suppress(sqlite3.Error):
        for path, identity in identities.items():
            row = memory.execute(query, (path, kind, identity)).fetchone()
            if row is not None:
                found[path] = str(row[0])
    return found


def _remember(memory: sqlite3.Connection | None, rows: list[tuple[str, str, str, str]]) -> None:
    if memory is not None and rows:
        with contextlib.suppress(sqlite3.Error), memory:
            memory.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", rows)
