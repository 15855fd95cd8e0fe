"""Marks that say which machine computes what, for workspaces that several machines share.

A lock of the file system excludes other processes of the same machine. Whether it reaches other machines depends on how
the file system is mounted, which is hard to find out. Whoever has the lock therefore also leaves a mark, and renews it
while the work goes on. A mark that is not renewed any more is that of a dead machine and counts for nothing. Two
machines that mark at the same moment may compute a task twice, which is harmless.
"""

from __future__ import annotations

import functools
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

RENEW_SECONDS = 20.0
DEAD_SECONDS = 120.0
"""Longer than the renewal, the memory of a network file system and the difference of clocks together."""


@functools.cache
def this_machine() -> str:
    """Return what tells this machine from others: the number of its start, which containers on it share."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


class Mark:
    """A file that says which machine is at work on something.

    Args:
        path: The file.
        machine: Who marks; this machine by default.
    """

    def __init__(self, path: Path, machine: str | None = None) -> None:
        self._path, self._machine = path, machine or this_machine()
        self._left = threading.Event()
        self._is_ours = False

    def take(self) -> bool:
        """Leave the mark and begin to renew it; return False when another machine is at work."""
        try:
            self._is_ours = self._write("x") or (not self._is_foreign() and self._write("w"))
        except OSError:  # no place for a mark, which is no reason not to work
            return True
        if self._is_ours:
            threading.Thread(target=self._renew, daemon=True).start()
        return self._is_ours

    def remove(self) -> None:
        """Remove the mark, if it is ours."""
        self._left.set()
        if self._is_ours:
            with suppress(OSError):
                self._path.unlink()

    def _write(self, mode: str) -> bool:
        try:
            with open(self._path, mode, encoding="utf-8") as file:
                file.write(self._machine)
        except FileExistsError:
            return False
        return True

    def _is_foreign(self) -> bool:
        """Return whether another machine has left the mark, and is alive."""
        try:
            machine, renewed = self._path.read_text(encoding="utf-8"), self._path.stat().st_mtime
        except FileNotFoundError:  # removed at this moment
            return False
        # An empty mark is that of a process which was killed, or whose disk was full, before it had written its name.
        return machine not in {"", self._machine} and time.time() - renewed < DEAD_SECONDS

    def _renew(self) -> None:
        while not self._left.wait(RENEW_SECONDS):
            with suppress(OSError):
                os.utime(self._path)
