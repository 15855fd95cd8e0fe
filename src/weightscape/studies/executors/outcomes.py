"""What becomes of tasks, and what a run says of it while it works."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from weightscape.studies.plan import Plan, Task
from weightscape.studies.workspace.store import Store

Status: TypeAlias = Literal["done", "cached", "failed", "blocked", "waiting"]


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        status: ``done`` now, ``cached`` from before, ``failed``, ``blocked`` by a failure upstream, or ``waiting``.
        message: Why it failed or is blocked.
        seconds: Time it took, for a task done now.
    """

    status: Status
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Event:
    """Progress of a run, for a display.

    Attributes:
        task: The task that is spoken of.
        outcome: What became of it; None while it runs.
        share: Share of it that is done, in [0, 1].
        text: What it is doing.
    """

    task: Task
    outcome: Outcome | None = None
    share: float = 0.0
    text: str = ""


@dataclass
class Run:
    """The outcomes of a run by key of the task.

    Attributes:
        outcomes: What became of each task.
        interrupted: Whether the run was stopped before its end.
        seconds: Time it took; less than that of its tasks together when several are computed at a time.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    interrupted: bool = False
    seconds: float = 0.0

    def count(self, status: Status) -> int:
        """Return how many tasks have a status."""
        return sum(outcome.status == status for outcome in self.outcomes.values())


def outcomes_of(plan: Plan, store: Store) -> dict[str, Outcome]:
    """Return what is known of each task without running anything."""
    return {key: Outcome("cached" if store.get(key) else "waiting") for key in plan.tasks}
