"""Ctrl-C and SIGTERM: the first asks the running task to save its state and stop, the second ends the process at once.

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
_STOPPING = "Stopping: the running task saves its state. Press Ctrl-C again to end at once."
_SHOW_CURSOR = "\x1b[?25h"


def terminate_like_interrupt() -> None:
    """Let SIGTERM do what Ctrl-C does, from now on; outside the main thread nothing can be changed."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)


@contextmanager
def second_signal_ends(say: Callable[[str], None]) -> Iterator[None]:
    """Announce the first SIGINT or SIGTERM, and end the process at the second.

    Results are published by one rename, so that ending at any moment leaves no half-written one.

    Args:
        say: Shows a line to the user.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader, say), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(reader: int, say: Callable[[str], None]) -> None:
    heard = 0
    while received := os.read(reader, 1):
        heard += received[0] in {signal.SIGINT, signal.SIGTERM}
        if received[0] not in {signal.SIGINT, signal.SIGTERM}:
            continue
        if heard > 1:
            cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
            os.write(2, f"{cursor}\nEnded. Finished results are kept; the same command continues.\n".encode())
            os._exit(ENDED)
        say(_STOPPING)
