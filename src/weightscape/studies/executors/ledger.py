"""The books of a run: hand out tasks, take down what became of them, tell whoever listens."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from weightscape.studies.executors.agenda import Agenda
from weightscape.studies.executors.outcomes import Event, Outcome
from weightscape.studies.plan import Task
from weightscape.studies.workspace.store import Store

ELSEWHERE = "another run computes it"
_TRIES = 3
"""Times that a task is handed out again because the process that it was sent to ended before it began."""
_ASK_SECONDS = 1.0
"""Shortest time between two questions whether another run is done with a task."""


class Ledger:
    """What is to be done, what became of it, and who is told.

    Args:
        agenda: The tasks.
        store: Where results are published to.
        listen: Called at each change.

    Attributes:
        agenda: The tasks.
        store: Where results are published to.
        interrupted: Whether a task was stopped before its end.
    """

    def __init__(self, agenda: Agenda, store: Store, listen: Callable[[Event], None]) -> None:
        self.agenda, self.store = agenda, store
        self.interrupted = False
        self._listen = listen
        self._returned: Counter[str] = Counter()
        self._asked = time.monotonic()

    def next_group(self) -> tuple[Task, ...]:
        """Hand out the tasks to compute together next; none when nothing is ready."""
        while group := self.agenda.next_group():
            left = tuple(task for task in group if not self._found(task))
            if left:
                return left
        return ()

    def resume_postponed(self) -> None:
        """Hand out again what another run computes, though not all the time: to ask costs files on a shared disk."""
        if time.monotonic() - self._asked >= _ASK_SECONDS:
            self._asked = time.monotonic()
            self.agenda.resume_postponed()

    def put_back(self, task: Task) -> bool:
        """Hand out again a task that nobody has begun with; return whether there is any point in trying once more."""
        self._returned[task.key] += 1
        if self._returned[task.key] > _TRIES:
            return False
        self.agenda.postpone(task)
        self.agenda.resume_postponed()
        return True

    def _found(self, task: Task) -> bool:
        """Settle a task that another run has published meanwhile."""
        if self.store.get(task.key) is None:
            return False
        self.take(task, Outcome("cached"))
        return True

    def progress(self, task: Task, share: float, text: str) -> None:
        """Tell how far a task is."""
        self._listen(Event(task, None, share, text))

    def take(self, task: Task, outcome: Outcome | None) -> None:
        """Take down what became of a task; None puts it off, as another run computes it."""
        if outcome is None:
            self.agenda.postpone(task)
            self.progress(task, 0.0, ELSEWHERE)
        elif outcome.status == "waiting":
            self.agenda.outcomes[task.key] = outcome
            self.interrupted = True
            self._listen(Event(task, outcome))
        else:
            self.store.forget(task.key)  # another process wrote what this one may remember otherwise
            for settled in self.agenda.settle(task, outcome):
                self._listen(Event(settled, self.agenda.outcomes[settled.key]))
