"""Compute tasks in worker processes, which can be stopped at any moment."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from weightscape.errors import WeightscapeError
from weightscape.studies.executors.computing import write_log
from weightscape.studies.executors.crew import Crew, Worker
from weightscape.studies.executors.inline import LOOK_SECONDS
from weightscape.studies.executors.ledger import Ledger
from weightscape.studies.executors.messages import Setup, Verdict
from weightscape.studies.executors.outcomes import Outcome
from weightscape.studies.executors.workplaces import Workplace
from weightscape.together import Stack


def compute_in_processes(
    ledger: Ledger,
    *,
    workplaces: Sequence[Workplace],
    data_root: Path | None,
    stopping: threading.Event,
    patience: float,
    stack: Stack = "auto",
) -> None:
    """Compute all tasks until none is left or the wish to stop is heard; leave no process behind, whatever happens.

    Args:
        ledger: The tasks.
        workplaces: What each process computes with.
        data_root: Folder of data sets.
        stopping: Set by the wish to stop.
        patience: Seconds that a running task gets to save its state before its process is killed.
        stack: Whether tasks that can be computed together are.

    Raises:
        WeightscapeError: If processes cannot start.
    """
    store = ledger.store.folder.absolute()
    ledger.agenda.shares = len(workplaces)
    crew = Crew([Setup(os.getpid(), store, data_root, workplace, stack) for workplace in workplaces])
    try:
        while not (ledger.agenda.is_finished or ledger.interrupted or stopping.is_set()):
            _hand_out(ledger, crew)
            _hear(ledger, crew)
        if not ledger.agenda.is_finished:
            _stop(ledger, crew, patience)
    finally:
        crew.end()


def _hand_out(ledger: Ledger, crew: Crew) -> None:
    """Give ready tasks to workers that have none; start no worker without a task for it."""
    while crew.has_room and (group := ledger.next_group()):
        crew.next_worker().give(group)
    if crew.has_room:
        ledger.resume_postponed()


def _hear(ledger: Ledger, crew: Crew) -> None:
    for worker in crew.speaking(LOOK_SECONDS):
        tasks = {task.key: task for task in worker.tasks}
        try:
            for reply in worker.hear():
                if isinstance(reply, Verdict):
                    ledger.take(tasks.pop(reply.key), reply.outcome)
                elif reply.key in tasks:  # else a thread that a task has left behind goes on talking
                    ledger.progress(tasks[reply.key], reply.share, reply.text)
        except EOFError:
            crew.strike_off(worker)
            _mourn(ledger, worker)


def _mourn(ledger: Ledger, worker: Worker) -> None:
    """Take down the tasks of a worker that ended in the middle of them as failed; hand out again what it had not begun.

    Raises:
        WeightscapeError: If it ended before it was ready for any.
    """
    cause, printed = worker.obituary()
    if not worker.has_started:
        raise WeightscapeError("\n".join(["Worker processes cannot start:", *(printed or [cause])]))
    for task in worker.tasks:
        if not worker.has_begun and ledger.put_back(task):
            continue
        # Lines that begin with a space are no part of the message when the log is read again.
        log = [" The last lines that the process printed:", *(f" | {line}" for line in printed)] if printed else []
        write_log(ledger.store.log_file(task.key), "\n".join([*log, f"WorkerDied: {cause}"]))
        ledger.take(task, Outcome("failed", f"WorkerDied: {cause}"))


def _stop(ledger: Ledger, crew: Crew, patience: float) -> None:
    """Let running tasks save their state; those that do not answer in time are given up, and their processes killed."""
    for worker in crew.busy:
        worker.halt()
    deadline = time.monotonic() + patience
    while crew.busy and time.monotonic() < deadline:
        _hear(ledger, crew)
    for worker in crew.busy:
        for task in worker.tasks:
            ledger.take(
                task, Outcome("waiting", f"did not stop within {patience:g} s and was ended; what it had saved is kept")
            )
