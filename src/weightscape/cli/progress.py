"""What a run shows while it works: one live display on a terminal, a line per finished task elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from weightscape.cli.printing import cell
from weightscape.cli.rows import labels, main_metrics
from weightscape.report.provenance import duration
from weightscape.studies.executors.ledger import ELSEWHERE

if TYPE_CHECKING:
    from weightscape.studies.executors.execution import Event, Run, Status
    from weightscape.studies.plan import Plan, Task
    from weightscape.studies.workspace.store import Store

_REFRESHES_PER_SECOND = 4
_MOST_LINES = 12
"""Running tasks that the live display has lines for."""


class Display(Protocol):
    """Shows events of a run, and lines of text between them."""

    def __call__(self, event: Event) -> None:
        """Show an event."""

    def say(self, text: str) -> None:
        """Show a line."""


@dataclass(frozen=True)
class Running:
    """A task at work: when it began, in seconds of the monotonic clock, and the share that is done."""

    begun: float
    share: float

    def seconds_left(self, now: float, expected: float) -> float:
        """Return the estimated time to its end, by what is done if it says so, else by the expected time of it all."""
        spent = now - self.begun
        return spent / self.share - spent if self.share else max(0.0, expected - spent)


class Progress:
    """How far a run is and how long it will take.

    The time left is estimated from the mean time of finished tasks of the same operation, those from earlier runs
    included.

    Args:
        plan: All tasks.
        run: What is known of them before the run.
        store: Where earlier results say how long they took.
        workers: How many tasks run at a time.
    """

    def __init__(self, plan: Plan, run: Run, store: Store, *, workers: int = 1) -> None:
        self.title = plan.study.name
        self.total = len(plan.tasks)
        self.running: dict[str, Running] = {}
        self._workers = workers
        self._labels, self._store = labels(plan), store
        self._operations = {key: task.operation.name for key, task in plan.tasks.items()}
        self._settled: dict[str, Status] = {
            key: outcome.status for key, outcome in run.outcomes.items() if outcome.status == "cached"
        }
        self._times: dict[str, list[float]] = {}
        for key in self._settled:
            if record := store.get(key):
                self._times.setdefault(self._operations[key], []).append(float(record.content["seconds"]["total"]))

    def take(self, event: Event) -> None:
        """Count an event; a task counts once, whatever is said of it."""
        key, outcome = event.task.key, event.outcome
        if outcome is None:
            begun = self.running[key].begun if key in self.running else time.monotonic()
            self.running[key] = Running(begun, event.share)
            return
        self.running.pop(key, None)
        if outcome.status == "waiting":  # it was stopped, or what was known of it turned out to be damaged
            self._settled.pop(key, None)
            return
        self._settled[key] = outcome.status
        if outcome.status == "done":
            self._times.setdefault(event.task.operation.name, []).append(outcome.seconds)

    @property
    def handled(self) -> int:
        """The number of tasks with an outcome."""
        return len(self._settled)

    @property
    def failed(self) -> int:
        """The number of tasks that failed."""
        return sum(status == "failed" for status in self._settled.values())

    def seconds_left(self) -> float | None:
        """Return the estimated time to the end; None before there is anything to estimate from."""
        now = time.monotonic()
        finished = [seconds for times in self._times.values() for seconds in times]
        known = finished or [(now - task.begun) / task.share for task in self.running.values() if task.share]
        if not known:
            return None
        means = {name: sum(times) / len(times) for name, times in self._times.items()}
        typical = sum(known) / len(known)
        left = 0.0
        for key in self._operations.keys() - self._settled.keys():
            expected = means.get(self._operations[key], typical)
            left += self.running[key].seconds_left(now, expected) if key in self.running else expected
        return left / self._workers

    def name(self, task: Task) -> str:
        """Return the short name of a task."""
        return self._labels.get(task.key, task.operation.name)

    def line(self, event: Event) -> str:
        """Return the line of a task that has ended; of one that was stopped only why, if there is more to say."""
        assert event.outcome is not None
        if event.outcome.status == "waiting":
            return f"{self.name(event.task)}: {event.outcome.message}" if event.outcome.message else ""
        width = len(str(self.total))
        record = self._store.get(event.task.key) if event.outcome.status == "done" else None
        metrics = main_metrics(record.metrics) if record else {}
        parts = [
            f"[{self.handled:>{width}}/{self.total}]",
            f"{event.outcome.status:<7}",
            self.name(event.task),
            *([f"{event.outcome.seconds:.1f} s"] if event.outcome.seconds else []),
            *(f"{name} {cell(value)}" for name, value in metrics.items()),
            event.outcome.message.partition("\n")[0],
        ]
        return "  ".join(part for part in parts if part)


class PlainLines:
    """Prints a line on stderr for each task that is finished, or left to another run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._elsewhere: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Count an event; print it when a task ends."""
        self._progress.take(event)
        if event.outcome is not None:
            if line := self._progress.line(event):
                self.say(line)
        elif event.text == ELSEWHERE and event.task.key not in self._elsewhere:
            self._elsewhere.add(event.task.key)
            self.say(f"{self._progress.name(event.task)}: {event.text}")

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)


class LiveDisplay:
    """Lines that are redrawn: one for the whole run, one for each task at work. Failures stay above them."""

    def __init__(self, progress: Progress, live: Any) -> None:
        self._progress, self._live = progress, live
        self._whole = live.add_task(progress.title, total=progress.total, completed=progress.handled, note="")
        self._lines: dict[str, Any] = {}
        self._free: list[Any] = []

    def __call__(self, event: Event) -> None:
        """Show an event."""
        progress, key = self._progress, event.task.key
        progress.take(event)
        if event.outcome is None:
            line = self._line(key)
            if line is not None:
                name = progress.name(event.task)
                self._live.update(line, description=name, completed=event.share, note=event.text, visible=True)
            return
        self._live.update(self._whole, completed=progress.handled)
        if key in self._lines:
            self._free.append(self._lines.pop(key))
            self._live.update(self._free[-1], visible=False)
        if event.outcome.status in {"failed", "waiting"} and (line := progress.line(event)):
            self.say(line)

    def _line(self, key: str) -> Any:
        """Return the line of a task, one that has become free before a new one; None when there are too many."""
        if key not in self._lines and (self._free or len(self._lines) < _MOST_LINES):
            new = self._free.pop(0) if self._free else self._live.add_task("", total=1.0, visible=False, note="")
            self._lines[key] = new
        return self._lines.get(key)

    def say(self, text: str) -> None:
        """Print a line above the display."""
        self._live.console.print(text)


@contextmanager
def display(progress: Progress) -> Iterator[Display]:
    """Show a run as fits where stderr goes."""
    if not sys.stderr.isatty():
        yield PlainLines(progress)
        return
    with _live(progress) as live:
        yield LiveDisplay(progress, live)


def _live(progress: Progress) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column
    from rich.text import Text

    class State(ProgressColumn):
        """Counts and time left for the whole run, what it is doing for the task at work."""

        def render(self, task: Any) -> Text:
            return Text(str(task.fields["note"])) if task.id else _state(progress)

    return RichProgress(
        TextColumn(
            "{task.description}", markup=False, table_column=Column(max_width=38, no_wrap=True, overflow="ellipsis")
        ),
        BarColumn(bar_width=16),
        State(),
        console=Console(stderr=True, highlight=False, markup=False, emoji=False),
        refresh_per_second=_REFRESHES_PER_SECOND,
        redirect_stdout=sys.stdout.isatty(),  # else what tasks print would not reach the file that stdout goes to
        transient=True,
    )


def _state(progress: Progress) -> Any:
    from rich.text import Text

    text = Text(f"{progress.handled}/{progress.total}")
    left = progress.seconds_left()
    if left is not None and progress.handled < progress.total:
        text.append(f"  {duration(round(left))} left", style="cyan")
    if progress.failed:
        text.append(f"  {progress.failed} failed", style="bold red")
    return text
