"""Which task comes next: a pure record of what is ready, what waits for what, and what became of each."""

from __future__ import annotations

import functools
import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from weightscape.studies.executors.outcomes import Outcome
from weightscape.studies.plan import Plan, Task

MOST_TOGETHER = 256
"""Tasks that are handed out together at most: each holds an open lock file while it is computed."""


class Agenda:
    """The tasks of a plan that are still to be computed.

    Tasks become ready as soon as all they need is there, not stage by stage, and are handed out in the order of the
    plan. What depends on a failure is blocked once all it needs has an outcome, so that the reason given is the same
    whatever ended first.

    Args:
        plan: All tasks.
        outcomes: What is known of them; whatever is not ``cached`` is to be computed.
        label: Tasks with equal labels are handed out together; those without one, alone.

    Attributes:
        outcomes: What became of each task so far.
        shares: Number of processes that tasks with one label are divided between.
    """

    def __init__(
        self,
        plan: Plan,
        outcomes: Mapping[str, Outcome],
        label: Callable[[Task], str | None] = lambda task: None,
    ) -> None:
        self.shares = 1
        self._sizes: dict[str, int] = {}
        self._label = functools.cache(lambda key: label(plan.tasks[key]))
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
        """Hand out the tasks that are to be computed together next, most often one; none when nothing is ready."""
        if not self._ready:
            return ()
        keys = [heapq.heappop(self._ready)[1]]
        if (label := self._label(keys[0])) is not None:
            mates = sorted(entry for entry in self._ready if self._label(entry[1]) == label)
            size = max(math.ceil((len(mates) + 1) / self.shares), self._sizes.get(label, 1))
            self._sizes[label] = size  # what is left for the last process is not divided again
            taken = mates[: min(size, MOST_TOGETHER) - 1]
            keys += [key for _, key in taken]
            self._ready = sorted(set(self._ready).difference(taken))
        return tuple(self._tasks[key] for key in keys)

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
        settled: list[Task] = []
        ended = deque([(task, outcome)])
        while ended:
            task, outcome = ended.popleft()
            self.outcomes[task.key] = outcome
            self._open.discard(task.key)
            settled.append(task)
            for dependant in self._released_by(task):
                blocked = self._blocked(dependant)
                if blocked is None:
                    heapq.heappush(self._ready, (self._places[dependant.key], dependant.key))
                else:
                    ended.append((dependant, blocked))
        return settled

    def _released_by(self, task: Task) -> Iterator[Task]:
        """Yield the tasks for which everything they need has an outcome now."""
        for key in self._needed_by.get(task.key, ()):
            self._missing[key].discard(task.key)
            if not self._missing[key]:
                yield self._tasks[key]

    def _blocked(self, task: Task) -> Outcome | None:
        for bound in task.upstream():
            upstream = self.outcomes.get(bound.key)
            if upstream is not None and upstream.status in {"failed", "blocked"}:
                return Outcome("blocked", f"needs {bound.key[:8]}, which {upstream.status}")
        return None
