"""Which task comes next: a pure record of what is ready, what waits for what, and what became of each."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from weightscape.studies.outcomes import Outcome
from weightscape.studies.plan import Plan, Task


class Agenda:
    """The tasks of a plan that are still to be computed.

    Tasks become ready as soon as all they need is there, not stage by stage, and are handed out in the order of the
    plan. What depends on a failure is blocked once all it needs has an outcome, so that the reason given is the same
    whatever ended first.

    Args:
        plan: All tasks.
        outcomes: What is known of them; whatever is not ``cached`` is to be computed.
    """

    def __init__(self, plan: Plan, outcomes: Mapping[str, Outcome]) -> None:
        self.outcomes = dict(outcomes)
        self._tasks = plan.tasks
        self._places = {key: place for place, key in enumerate(plan.tasks)}
        self._open = {key for key in plan.tasks if outcomes[key].status != "cached"}
        self._missing = {key: self._needs(key) & self._open for key in self._open}
        self._needed_by: dict[str, list[str]] = {}
        for key in sorted(self._open, key=self._places.__getitem__):
            for upstream in self._missing[key]:
                self._needed_by.setdefault(upstream, []).append(key)
        self._ready = sorted((self._places[key], key) for key, needs in self._missing.items() if not needs)
        self._postponed: list[str] = []

    def _needs(self, key: str) -> set[str]:
        return {bound.key for bound in self._tasks[key].upstream()}

    @property
    def is_finished(self) -> bool:
        """Whether every task has an outcome."""
        return not self._open

    @property
    def has_postponed(self) -> bool:
        """Whether tasks were put off because another run computes them."""
        return bool(self._postponed)

    def next_group(self) -> tuple[Task, ...]:
        """Hand out the tasks that are to be computed together next: one; none when nothing is ready."""
        return (self._tasks[heapq.heappop(self._ready)[1]],) if self._ready else ()

    def postpone(self, task: Task) -> None:
        """Put off a task that was handed out, until :meth:`resume_postponed`."""
        self._postponed.append(task.key)

    def resume_postponed(self) -> None:
        """Make the tasks that were put off ready again."""
        for key in self._postponed:
            heapq.heappush(self._ready, (self._places[key], key))
        self._postponed.clear()

    def settle(self, task: Task, outcome: Outcome) -> list[Task]:
        """Record what became of a task.

        Returns:
            The task itself and all that are blocked now, in the order in which they got their outcome.
        """
        self.outcomes[task.key] = outcome
        self._open.discard(task.key)
        settled = [task]
        for key in self._needed_by.get(task.key, ()):
            self._missing[key].discard(task.key)
            if self._missing[key]:
                continue
            blocked = self._blocked(self._tasks[key])
            if blocked is None:
                heapq.heappush(self._ready, (self._places[key], key))
            else:
                settled += self.settle(self._tasks[key], blocked)
        return settled

    def _blocked(self, task: Task) -> Outcome | None:
        for bound in task.upstream():
            upstream = self.outcomes.get(bound.key)
            if upstream is not None and upstream.status in {"failed", "blocked"}:
                return Outcome("blocked", f"needs {bound.key[:8]}, which {upstream.status}")
        return None
