"""A worker process: computes the tasks it is sent, and ends with the process that started it.

It hears Ctrl-C from the run alone, not from the terminal, so that the run decides what stops. Everything it prints goes
through pipes to the run, which shows it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import io
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import FrameType

from weightscape.operation import Context
from weightscape.studies.executors.computing import write_log
from weightscape.studies.executors.group import run_group
from weightscape.studies.executors.messages import Begun, Halt, Order, Ready, Reply, Setup, Share, Verdict
from weightscape.studies.executors.outcomes import Outcome
from weightscape.studies.executors.transport import Parcel, unpack
from weightscape.studies.executors.workplaces import put_back, use_threads
from weightscape.studies.plan import Task
from weightscape.studies.workspace.store import Store

_ABANDONED = 1
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
_SHARE_SECONDS = 0.1
"""Shortest time between two reports of progress."""


def main(descriptor: int) -> None:
    """Compute tasks until the other end of the pipe is closed.

    Args:
        descriptor: The pipe to the run.
    """
    faulthandler.enable()
    _print_line_by_line()
    connection: Connection = Connection(descriptor)
    setup: Setup = connection.recv()
    _end_with(setup.parent)
    _prepare(setup)
    inbox = Inbox(connection)
    _stop_when_terminated(inbox.stopping)
    outbox = Outbox(connection)
    outbox.send(Ready())
    while (order := inbox.next_order()) is not None:
        outbox.send(Begun())
        _compute(order, setup, inbox.stopping, outbox)


def _print_line_by_line() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")


def _end_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends, whatever it is doing; elsewhere the inbox notices."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(_ABANDONED)


def _stop_when_terminated(stopping: threading.Event) -> None:
    """Hear SIGTERM, which cluster managers send to every process, as the wish to stop; Ctrl-C is the run's to hear."""

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


def _prepare(setup: Setup) -> None:
    from weightscape.training.memory import keep_freed_memory

    keep_freed_memory()
    use_threads(setup.workplace.threads)
    if setup.workplace.device.startswith("cuda"):
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(setup.workplace.device)  # for code that says "cuda" without a number


class Inbox:
    """Receives in a thread of its own, so that the wish to stop is heard while a task runs.

    Args:
        connection: The pipe to the run.

    Attributes:
        stopping: Set once the run wishes to stop.
    """

    def __init__(self, connection: Connection) -> None:
        self.stopping = threading.Event()
        self._connection = connection
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._busy, self._closed = threading.Event(), threading.Event()
        threading.Thread(target=self._receive, daemon=True).start()

    def next_order(self) -> Order | None:
        """Wait for tasks; None once there will be no more."""
        self._busy.clear()
        order = self._orders.get()
        self._busy.set()
        if order is not None and self._closed.is_set():
            os._exit(_ABANDONED)
        return order

    def _receive(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                break
            if isinstance(message, Halt):
                self.stopping.set()
            else:
                self._orders.put(message)
        self._closed.set()
        if self._busy.is_set():  # the run ended in the middle of a task: it was killed
            os._exit(_ABANDONED)
        self._orders.put(None)


class Outbox:
    """Sends, one message at a time, whichever thread of a task speaks.

    Args:
        connection: The pipe to the run.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock, self._process = connection, threading.Lock(), os.getpid()

    def send(self, reply: Reply) -> None:
        """Send a message; end this process when nobody is there to read it, or a task has forked it from the worker."""
        if os.getpid() != self._process:
            os._exit(_ABANDONED)
        with self._lock:
            try:
                self._connection.send(reply)
            except (BrokenPipeError, ConnectionResetError):
                os._exit(_ABANDONED)


def _compute(order: Order, setup: Setup, stopping: threading.Event, outbox: Outbox) -> None:
    """Compute the tasks of an order, and send what became of each."""
    store = Store(setup.store)
    tasks = []
    for parcel in order.parcels:
        found = _open(parcel, setup, store, stopping)
        if isinstance(found, Outcome):
            outbox.send(Verdict(parcel.key, found))
        else:
            tasks.append(found)
    use_threads(setup.workplace.threads)  # a task before may have changed them
    put_back(None)
    run_group(
        tasks,
        store,
        lambda task: _context(task, setup, store, stopping, outbox),
        lambda task, outcome: outbox.send(Verdict(task.key, outcome)),
    )


def _open(parcel: Parcel, setup: Setup, store: Store, stopping: threading.Event) -> Task | Outcome:
    if stopping.is_set():
        return Outcome("waiting", "stopped before it began")
    try:
        return unpack(parcel, setup.data_root)
    except Exception as error:  # foreign code is imported here
        write_log(store.log_file(parcel.key), traceback.format_exc())
        return Outcome("failed", f"{type(error).__name__}: {error}")


def _context(task: Task, setup: Setup, store: Store, stopping: threading.Event, outbox: Outbox) -> Context:
    return Context(
        device=setup.workplace.device,
        data_root=setup.data_root,
        partial=store.partial_folder(task.key),
        progress=_reporter(task.key, outbox),
        should_stop=stopping.is_set,
        stack=setup.stack,
    )


def _reporter(key: str, outbox: Outbox) -> Callable[[float, str], None]:
    last = -_SHARE_SECONDS

    def report(share: float, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SHARE_SECONDS:
            last = now
            outbox.send(Share(key, float(share), str(text)))

    return report
