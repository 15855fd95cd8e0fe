"""Runs that start in no time: processes forked from one that has imported everything.

A run spends seconds importing torch before it does anything. To kill many runs where it matters, each is a fork of a
process that has done so; it calls the same ``main`` with the same arguments, and is as dead as any after ``kill -9``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

_READY = "ready"


class WarmProcess:
    """The process that runs are forked from."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._hear() == _READY

    def start(self, arguments: list[str], log: Path) -> WarmRun:
        """Start a run of the command line; what it prints goes to a file."""
        self._say(json.dumps([arguments, str(log)]))
        return WarmRun(int(self._hear()), log, self)

    def wait(self) -> int:
        """Return how the run that was started last has ended, after it has."""
        self._say("wait")
        return int(self._hear())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def _say(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class WarmRun:
    """A run forked from a warm process; looks like a :class:`subprocess.Popen`, as far as it is needed here."""

    def __init__(self, pid: int, log: Path, parent: WarmProcess) -> None:
        self.pid, self._log, self._parent = pid, log, parent
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return how it ended, or None while it runs."""
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return self.communicate()[1] if state == "Z" else None

    def communicate(self, timeout: float | None = None) -> tuple[str, int]:
        """Wait for its end; return what it printed, and how it ended."""
        if self.returncode is None:
            self.returncode = self._parent.wait()
        return self._log.read_text(), self.returncode

    def __enter__(self) -> WarmRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.communicate()


def serve() -> None:
    """Import everything, then fork a run for every line."""
    import matplotlib.pyplot  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch  # noqa: F401

    import weightscape.cli.main  # noqa: F401
    import weightscape.report.study  # noqa: F401
    import weightscape.training.run  # noqa: F401
    import weightscape.transfer.trajectory  # noqa: F401

    print(_READY, flush=True)
    pid = 0
    for line in sys.stdin:
        if line.strip() == "wait":
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
            continue
        arguments, log = json.loads(line)
        told, telling = os.pipe()
        pid = os.fork()
        if not pid:
            os.setsid()
            os.close(telling)
            _run(arguments, log)
        os.close(telling)
        os.read(told, 1)  # returns when the run has a session of its own: before that it could not be killed by it
        os.close(told)
        print(pid, flush=True)


def _run(arguments: list[str], log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in enumerate((nothing, file, file)):
        os.dup2(source, target)
    sys.argv = ["weightscape", *arguments]
    code = 1
    try:
        from weightscape.cli.main import main

        main()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
