"""Locks of a workspace: what one process is at, no other begins with."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from weightscape.errors import StoreError
from weightscape.studies.workspace.files import reason
from weightscape.studies.workspace.marks import Mark

# What file systems answer that have no locks: network file systems without a lock server, some FUSE ones.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


class Locks:
    """The locks of a workspace.

    Args:
        workspace: Its folder; the folder of locks is made when one is taken.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace, self._folder = workspace, workspace / "locks"

    @contextmanager
    def claimed(self, name: str, *, seconds: float = 0) -> Iterator[bool]:
        """Hold a lock, if no other process does; yield whether that is so.

        Where the file system has no locks, nobody holds one.

        Args:
            name: A key, or the name of something else that two processes must not do at once.
            seconds: Time to wait for it.

        Raises:
            StoreError: If the workspace cannot be written.
        """
        lock = self._lock(name)
        try:
            lock.acquire(timeout=seconds)
            free = True
        except Timeout:
            free = False
        except NotImplementedError:
            free = True
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise self._unwritable(error) from error
            free = True
        mark = Mark(self._folder / f"{name}.mark")
        try:
            yield free and mark.take()
        finally:
            mark.remove()
            lock.release()

    def is_held(self, name: str) -> bool:
        """Return whether another process holds a lock; in a workspace that may only be read this cannot be told."""
        if not (self._folder / f"{name}.lock").is_file():
            return False
        with suppress(StoreError), self.claimed(name) as free:
            return not free
        return False

    def _lock(self, name: str) -> FileLock:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        return FileLock(self._folder / f"{name}.lock")

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(f"The workspace {self._workspace} cannot be written: {reason(error)}")
