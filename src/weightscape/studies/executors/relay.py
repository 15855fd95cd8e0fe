"""Shows what a worker process prints, as if it had been printed here, and remembers the end of it."""

from __future__ import annotations

import codecs
import sys
import threading
from collections import deque
from collections.abc import Iterable
from typing import IO, Literal

_REMEMBERED_LINES = 40
_CHUNK = 65536
_JOIN_SECONDS = 1.0


class Relay:
    """Copies the output of a process to the streams of this one, in whole lines.

    Args:
        stdout: What the process writes to.
        stderr: What it writes errors to.
    """

    def __init__(self, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._tail: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        streams: Iterable[tuple[IO[bytes], Literal["stdout", "stderr"]]] = [(stdout, "stdout"), (stderr, "stderr")]
        self._threads = [threading.Thread(target=self._copy, args=pair, daemon=True) for pair in streams]
        for thread in self._threads:
            thread.start()

    @property
    def tail(self) -> list[str]:
        """The last lines that were printed."""
        return list(self._tail)

    def forget(self) -> None:
        """Begin to remember anew."""
        self._tail.clear()

    def close(self) -> None:
        """Wait until all is shown; not for ever, as a process that the worker started may hold the pipe."""
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def _copy(self, source: IO[bytes], name: Literal["stdout", "stderr"]) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        rest = ""
        with source:
            while chunk := source.read1(_CHUNK):  # type: ignore[attr-defined]
                *lines, rest = (rest + decoder.decode(chunk)).split("\n")
                self._show(name, [f"{line}\n" for line in lines])
        self._show(name, [rest] if rest else [])

    def _show(self, name: Literal["stdout", "stderr"], lines: list[str]) -> None:
        self._tail.extend(line.rstrip() for line in lines if line.strip())
        if not lines:
            return
        stream = getattr(sys, name)
        try:
            stream.write("".join(lines))
            stream.flush()
        except (OSError, ValueError):  # closed: nobody reads it any more
            return
