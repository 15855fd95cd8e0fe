"""Worker processes, seen from the run: started, sent tasks, listened to, and ended at any moment.

Killing one loses nothing: results are published by one rename, and the state of a running task survives a kill.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import wait

from weightscape.studies.executors.messages import Begun, Halt, Order, Ready, Reply, Request, Setup, Share, Verdict
from weightscape.studies.executors.relay import Relay
from weightscape.studies.executors.stopping import SIGNALS
from weightscape.studies.executors.transport import pack
from weightscape.studies.executors.workplaces import thread_environment
from weightscape.studies.plan import Task

# sys.path first: the folder of the study is on it, and this package itself may be found by it alone.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from weightscape.studies.executors.worker import main; main(int(sys.argv[1]))"
)
_LEAVE_SECONDS = 3.0
"""Time that an idle process gets to end by itself."""


class Worker:
    """One worker process.

    Args:
        setup: What it computes with.

    Attributes:
        tasks: What it was sent and has not answered yet.
        has_started: Whether it has answered at all.
        has_begun: Whether it has begun with these tasks; before that, its end is not their doing.
    """

    def __init__(self, setup: Setup) -> None:
        self.tasks: list[Task] = []
        self.has_started = self.has_begun = False
        self.connection, theirs = Pipe()
        path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])  # Python passes over all others
        with theirs, _signals_held_back():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, str(theirs.fileno()), path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **thread_environment(setup.workplace.threads)},
            )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._relay = Relay(self._process.stdout, self._process.stderr)
        self._send(setup)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def give(self, tasks: Sequence[Task]) -> None:
        """Send tasks to compute."""
        self.tasks, self.has_begun = list(tasks), False
        self._relay.forget()
        self._send(Order(tuple(pack(task) for task in tasks)))

    def halt(self) -> None:
        """Ask the running task to save its state and to leave."""
        self._send(Halt())

    def hear(self) -> Iterator[Share | Verdict]:
        """Yield what it has said since the last time.

        Raises:
            EOFError: If it ended.
        """
        while self.connection.poll():
            try:
                reply: Reply = self.connection.recv()
            except OSError as error:  # killed in the middle of a message
                raise EOFError from error
            if isinstance(reply, Ready):
                self.has_started = True
                continue
            if isinstance(reply, Begun):
                self.has_begun = True
                continue
            if isinstance(reply, Verdict):
                self.tasks = [task for task in self.tasks if task.key != reply.key]
            yield reply
        if self.has_ended and not self.connection.poll():
            raise EOFError

    @property
    def has_ended(self) -> bool:
        """Whether the process is over; processes that it has started itself may keep its pipe open."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._process.kill()
        self._close()

    def dismiss(self) -> None:
        """Tell it that there is nothing more to do; :meth:`leave` waits for its end."""
        self.connection.close()

    def leave(self) -> None:
        """Wait for the end of a process that was dismissed."""
        try:
            self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._close()

    def obituary(self) -> tuple[str, list[str]]:
        """Return why the process ended, and the last lines that it printed."""
        try:
            code = self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._close()
        return _cause(code), self._relay.tail

    def _send(self, message: Setup | Request) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended, and is heard to have ended
            self.connection.send(message)

    def _close(self) -> None:
        with suppress(subprocess.TimeoutExpired):  # not even a kill ends what waits for a disk that does not answer
            self._process.wait(_LEAVE_SECONDS)
        self._relay.close()
        self.connection.close()


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let a new process begin deaf to Ctrl-C, until it has said itself what to do about it; none is lost here."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cause(code: int) -> str:
    if code >= 0:
        return f"the process that computed it ended with exit code {code}, without a result"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hints = {
        "SIGKILL": "from outside, most likely by the system because memory ran out; fewer workers need less memory",
        "SIGSEGV": "a segmentation fault in compiled code",
        "SIGBUS": "a file that it reads was cut short, or the disk or shared memory is full",
        "SIGABRT": "compiled code gave up",
        "SIGILL": "an instruction that this processor does not have",
    }
    hint = hints.get(name)
    return f"the process that computed it was killed by {name}" + (f" ({hint})" if hint else "")


class Crew:
    """The worker processes of a run, started when they are needed.

    Args:
        setups: What each of them computes with.
    """

    def __init__(self, setups: Sequence[Setup]) -> None:
        self._setups = list(setups)
        self._workers: list[Worker | None] = [None] * len(self._setups)

    @property
    def busy(self) -> list[Worker]:
        """Those that compute."""
        return [worker for worker in self._workers if worker is not None and worker.tasks]

    @property
    def has_room(self) -> bool:
        """Whether a worker is idle or can be started."""
        return len(self.busy) < len(self._workers)

    def next_worker(self) -> Worker:
        """Return a worker that has nothing to do, started if need be, while there is room."""
        for worker in self._workers:
            if worker is not None and not worker.tasks:
                if not worker.has_ended:
                    return worker
                self.strike_off(worker)
                worker.leave()
        index = self._workers.index(None)
        made = self._workers[index] = Worker(self._setups[index])
        return made

    def speaking(self, seconds: float) -> list[Worker]:
        """Wait until a busy worker says something or ends, or the time is over; return those that did."""
        busy = {worker.connection: worker for worker in self.busy}
        if not busy:
            time.sleep(seconds)
            return []
        ready = wait(list(busy), seconds)
        return [worker for connection, worker in busy.items() if connection in ready or worker.has_ended]

    def strike_off(self, worker: Worker) -> None:
        """Forget a worker that has ended; another one takes its place when it is needed."""
        self._workers[self._workers.index(worker)] = None

    def end(self) -> None:
        """End all: those that compute at once, the others by themselves."""
        workers = [worker for worker in self._workers if worker is not None]
        for worker in workers:
            worker.kill() if worker.tasks else worker.dismiss()
        for worker in workers:
            worker.leave()
        self._workers = [None] * len(self._setups)
