"""Ctrl-C and SIGTERM: the first asks running tasks to save their state and stop, the second ends the run at once.

Python runs signal handlers between its own instructions only, and a task may spend minutes inside one call of a library
(an assignment problem, a matrix product). The C-level handler writes to a pipe in any case; a thread that reads from it
can tell the user that the first signal was heard, and act on the second.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ENDED = 130
_STOPPING = "Stopping: running tasks save their state. Press Ctrl-C again to end at once."
_ENDED = "Ended. Finished results are kept; the same command continues."
_SHOW_CURSOR = "\x1b[?25h"
_IMPORTING = "<frozen importlib"


def signals_interrupt() -> None:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt, from now on; outside the main thread nothing can be changed.

    While a module is being imported they end the process instead: nothing has begun then, and libraries turn an
    exception in the middle of their initialisation into errors of their own.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORTING):
            os.write(2, b"\nInterrupted.\n")
            os._exit(ENDED)
        frame = frame.f_back
    raise KeyboardInterrupt


@contextmanager
def announce_stopping(say: Callable[[str], None], *, end: bool) -> Iterator[None]:
    """Announce at the first SIGINT or SIGTERM that the run stops.

    Args:
        say: Shows a line to the user.
        end: Whether the second signal ends this process at once, for tasks that run in it. Results are published by one
            rename, so that ending at any moment leaves no half-written one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader, say, end), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(reader: int, say: Callable[[str], None], end: bool) -> None:
    heard = 0
    while received := os.read(reader, 1):
        if received[0] not in {signal.SIGINT, signal.SIGTERM}:
            continue
        heard += 1
        if heard == 1:
            say(_STOPPING)
        elif end:
            cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
            os.write(2, f"{cursor}\n{_ENDED}\n".encode())
            os._exit(ENDED)
