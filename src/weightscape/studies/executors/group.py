"""Tasks that are computed together: one computation, each result published by itself under its own key.

The state of an interrupted group is kept beside that of its first member by key. That member is published last, so that
the state outlives all but the last of the others. A group of other members begins anew.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeAlias

from weightscape.errors import Interrupted, WeightscapeError
from weightscape.operation import Context
from weightscape.results import Result
from weightscape.studies.executors.computing import call_of, check_result, run_task, write_log
from weightscape.studies.executors.outcomes import Outcome
from weightscape.studies.keys import digest
from weightscape.studies.plan import Task
from weightscape.studies.workspace.store import Store
from weightscape.together import Stack

Settle: TypeAlias = Callable[[Task, Outcome | None], None]


def group_label(task: Task, *, device: str, stack: Stack) -> str | None:
    """Return a label: tasks that have the same one can be computed together. None if a task is computed alone."""
    together = task.operation.together
    if together is None or not together.is_wanted(device, stack):
        return None
    label = together.label(task.settings)
    return None if label is None else f"{task.operation.name} {label}"


def run_group(tasks: Sequence[Task], store: Store, context_of: Callable[[Task], Context], settle: Settle) -> None:
    """Compute and publish tasks: a single one as ever, several together.

    Args:
        tasks: Tasks with one label.
        store: Where inputs are read from and results are published to.
        context_of: Device, folders, progress and the wish to stop, for a task.
        settle: Told what became of each; None where another process computes it at this moment.
    """
    if len(tasks) == 1:
        settle(tasks[0], run_task(tasks[0], store, context_of(tasks[0])))
    elif tasks:
        _Group(tasks, store, context_of, settle).run()


class _Group:
    def __init__(
        self, tasks: Sequence[Task], store: Store, context_of: Callable[[Task], Context], settle: Settle
    ) -> None:
        # The first key comes last: its folder holds the state of all.
        self._open = {task.key: task for task in sorted(tasks, key=lambda task: task.key, reverse=True)}
        self._store, self._context_of, self._settle = store, context_of, settle
        self._began = time.perf_counter()

    def run(self) -> None:
        """Compute what no other process does."""
        try:
            with ExitStack() as claims:
                self._claim(claims)
                if len(self._open) > 1:
                    self._compute()
        except Interrupted as error:
            self._settle_all(Outcome("waiting", str(error)))
        except (Exception, SystemExit) as error:  # whatever these tasks do must not stop the others
            for task in self._open.values():
                write_log(self._store.log_file(task.key), traceback.format_exc())
            self._settle_all(Outcome("failed", f"{type(error).__name__}: {error}", time.perf_counter() - self._began))
        for task in list(self._open.values()):  # one alone, the others being computed elsewhere
            self._end(task, run_task(task, self._store, self._context_of(task)))

    def _claim(self, claims: ExitStack) -> None:
        """Take the locks of all; leave out what another process computes or has published."""
        for task in list(self._open.values()):
            free = claims.enter_context(self._store.claimed(task.key))
            if self._store.get(task.key):
                self._end(task, Outcome("cached"))
            elif not free:
                self._end(task, None)

    def _compute(self) -> None:
        tasks = list(self._open.values())
        contexts = [self._context_of(task) for task in tasks]
        folder = self._store.partial_folder(tasks[-1].key) / f"together-{digest(list(self._open))}"
        folder.mkdir(parents=True, exist_ok=True)

        def progress(share: float, text: str) -> None:
            for task, context in zip(tasks, contexts, strict=True):
                if task.key in self._open:
                    context.progress(share, text)

        def publish(index: int, made: Result | Exception, how: str) -> None:
            seconds = (time.perf_counter() - self._began) / len(tasks)
            self._end(tasks[index], self._published(tasks[index], made, how, contexts[0].device, seconds))

        together = tasks[0].operation.together
        assert together is not None
        progress(0.0, f"starting, {len(tasks)} together")
        calls: list[Mapping[str, Any]] = [call_of(task, self._store) for task in tasks]
        together.compute(calls, context=replace(contexts[0], partial=folder, progress=progress), publish=publish)
        if self._open:
            raise WeightscapeError(f"{tasks[0].operation.name!r} returned no result for {', '.join(self._open)}.")
        shutil.rmtree(folder, ignore_errors=True)

    def _published(self, task: Task, made: Result | Exception, how: str, device: str, seconds: float) -> Outcome:
        try:
            if isinstance(made, Exception):
                raise made
            check_result(task, made)
            self._store.publish(task, made, seconds=seconds, device=device, how={"together": how} if how else {})
        except Exception as error:  # a member that fails must not stop the others
            write_log(self._store.log_file(task.key), traceback.format_exc())
            return Outcome("failed", f"{type(error).__name__}: {error}", seconds)
        return Outcome("done", seconds=seconds)

    def _end(self, task: Task, outcome: Outcome | None) -> None:
        del self._open[task.key]
        self._settle(task, outcome)

    def _settle_all(self, outcome: Outcome) -> None:
        for task in list(self._open.values()):
            self._end(task, outcome)
