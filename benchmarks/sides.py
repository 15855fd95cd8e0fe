"""One side of a comparison in a process of its own, which runs when it is told to.

The sides take turns on the same machine, so that its changing speed meets both; and each has its own allocator, since
one of the differences is what a process does with freed memory.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from common import seconds


class Side:
    """A process that answers each :meth:`run` with the seconds it took.

    Args:
        script: Python file that calls :func:`serve`.
        arguments: Its arguments.
    """

    def __init__(self, script: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self) -> float:
        """Let the side do its work once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The side {self._process.args} ended.")
        return float(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(work: Callable[[], object]) -> None:
    """Do the work once for each line on standard input, and print the seconds."""
    for _ in sys.stdin:
        print(seconds(work), flush=True)
