"""Where the time of a transfer goes. Loads no torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias, get_args

Phase: TypeAlias = Literal["gradient", "assignment", "cost", "evaluation"]
PHASES: tuple[Phase, ...] = get_args(Phase)


class Clock:
    """Seconds by phase, and in total, since the last reading.

    On a GPU work is queued: time appears in the phase that waits for it.
    """

    def __init__(self) -> None:
        self._seconds: dict[Phase, float] = {}
        self._since = time.perf_counter()

    @contextmanager
    def __call__(self, phase: Phase) -> Iterator[None]:
        """Count the time of a block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(phase, time.perf_counter() - began)

    def add(self, phase: Phase, seconds: float) -> None:
        """Count seconds that were measured elsewhere."""
        self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds

    def read(self) -> dict[str, float]:
        """Return the seconds by phase and in ``total`` since the last reading, and begin anew."""
        now = time.perf_counter()
        seconds = {phase: self._seconds.get(phase, 0.0) for phase in PHASES} | {"total": now - self._since}
        self._seconds, self._since = {}, now
        return seconds
