"""What a run shows while it works: one live display on a terminal, a line per finished task elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from weightscape.cli.printing import cell
from weightscape.cli.rows import labels, main_metrics
from weightscape.report.provenance import duration

if TYPE_CHECKING:
    from weightscape.studies.execution import Event, Run
    from weightscape.studies.plan import Plan, Task
    from weightscape.studies.store import Store

_REFRESHES_PER_SECOND = 4


class Display(Protocol):
    """Shows events of a run, and lines of text between them."""

    def __call__(self, event: Event) -> None:
        """Show an event."""

    def say(self, text: str) -> None:
        """Show a line."""


class Progress:
    """How far a run is and how long it will take.

    The time left is estimated from the mean time of finished tasks of the same operation, those from earlier runs
    included.

    Args:
        plan: All tasks.
        run: What is known of them before the run.
        store: Where earlier results say how long they took.
    """

    def __init__(self, plan: Plan, run: Run, store: Store) -> None:
        self.title = plan.study.name
        self.total = len(plan.tasks)
        self.done = run.count("cached")
        self.failed = self.blocked = 0
        self._labels, self._store = labels(plan), store
        self._left = {key: task.operation.name for key, task in plan.tasks.items() if not store.get(key)}
        self._times: dict[str, list[float]] = {}
        self._started, self._share = time.monotonic(), 0.0
        for key, task in plan.tasks.items():
            if record := store.get(key):
                self._times.setdefault(task.operation.name, []).append(float(record.content["seconds"]["total"]))

    def take(self, event: Event) -> None:
        """Count an event."""
        key, outcome = event.task.key, event.outcome
        if outcome is None:
            if event.share == 0:
                self._started = time.monotonic()
            self._share = event.share
            return
        self._left.pop(key, None)
        self.done += outcome.status in {"done", "cached"}
        self.failed += outcome.status == "failed"
        self.blocked += outcome.status == "blocked"
        if outcome.status == "done":
            self._times.setdefault(event.task.operation.name, []).append(outcome.seconds)
        self._started, self._share = time.monotonic(), 0.0

    @property
    def handled(self) -> int:
        """The number of tasks with an outcome."""
        return self.done + self.failed + self.blocked

    def seconds_left(self) -> float | None:
        """Return the estimated time to the end; None before there is anything to estimate from."""
        spent = time.monotonic() - self._started
        means = {name: sum(times) / len(times) for name, times in self._times.items()}
        overall = [seconds for times in self._times.values() for seconds in times]
        running = spent / self._share if self._share else None
        if not overall and running is None:
            return None
        typical = sum(overall) / len(overall) if overall else running or 0.0
        expected = [means.get(name, typical) for name in self._left.values()]
        if expected and running is not None:
            expected[0] = running
        return max(0.0, sum(expected) - spent)

    def name(self, task: Task) -> str:
        """Return the short name of a task."""
        return self._labels.get(task.key, task.operation.name)

    def line(self, event: Event) -> str:
        """Return the line of a finished task."""
        assert event.outcome is not None
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
    """Prints a line on stderr for each task that is finished."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, event: Event) -> None:
        """Count an event; print it when a task ends."""
        self._progress.take(event)
        if event.outcome is not None and event.outcome.status != "waiting":
            self.say(self._progress.line(event))

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)


class LiveDisplay:
    """Two lines that are redrawn: the whole run, and the task at work. Failures stay above them."""

    def __init__(self, progress: Progress, live: Any) -> None:
        self._progress, self._live = progress, live
        self._whole = live.add_task(progress.title, total=progress.total, completed=progress.done, note="")
        self._current = live.add_task("", total=1.0, visible=False, note="")

    def __call__(self, event: Event) -> None:
        """Show an event."""
        progress = self._progress
        progress.take(event)
        if event.outcome is None:
            name = progress.name(event.task)
            self._live.update(self._current, description=name, completed=event.share, note=event.text, visible=True)
            return
        self._live.update(self._whole, completed=progress.handled)
        self._live.update(self._current, visible=False)
        if event.outcome.status == "failed":
            self.say(progress.line(event))

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
