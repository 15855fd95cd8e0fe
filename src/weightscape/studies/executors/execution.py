"""Run the tasks of a plan, each published as soon as it is done.

A failing task never stops independent ones; what depends on it is reported as blocked. On Ctrl-C or SIGTERM the running
tasks save their state and the next run continues them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from weightscape.errors import WeightscapeError
from weightscape.studies.executors.agenda import Agenda
from weightscape.studies.executors.group import group_label
from weightscape.studies.executors.inline import compute_here
from weightscape.studies.executors.ledger import Ledger
from weightscape.studies.executors.outcomes import Event as Event
from weightscape.studies.executors.outcomes import Outcome as Outcome
from weightscape.studies.executors.outcomes import Run as Run
from weightscape.studies.executors.outcomes import Status as Status
from weightscape.studies.executors.outcomes import outcomes_of as outcomes_of
from weightscape.studies.executors.parallel import compute_in_processes
from weightscape.studies.executors.stopping import stop_on_signal
from weightscape.studies.executors.transport import check_importable
from weightscape.studies.executors.workplaces import plan_workplaces, use_threads
from weightscape.studies.plan import Plan
from weightscape.studies.workspace.store import Record, Store
from weightscape.together import Stack

_LOG = logging.getLogger(__name__)
PATIENCE = 5.0
"""Seconds that a running task gets to save its state after the wish to stop."""


def run_plan(
    plan: Plan,
    store: Store,
    *,
    workers: int | None = 0,
    per_gpu: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
    data_root: Path | None = None,
    listen: Callable[[Event], None] = lambda event: None,
    patience: float = PATIENCE,
    stack: Stack = "auto",
    count_gpus: Callable[[], int] | None = None,
) -> Run:
    """Compute what the store does not have yet.

    The results, and with the same number of threads their bits, are the same whatever the number of processes.

    Args:
        plan: The tasks.
        store: Where results are read from and published to.
        workers: Number of processes that compute; 0 computes in this process, where a debugger sees it and a long call
            into a library cannot be stopped.
        per_gpu: Number of processes for each GPU of `device`, instead of `workers` (which is None then).
        device: Torch device: ``cpu``, ``cuda`` (all GPUs in turn), ``cuda:1``, ``mps``.
        threads: CPU threads of each process; the cores divided by the processes by default, in this process as they
            are.
        data_root: Folder of data sets.
        listen: Called at each change, for a display, always in this thread.
        patience: Seconds that a running task gets to save its state when the run is to stop, before its process is
            killed. Killing loses what it did since its last checkpoint.
        stack: Whether tasks that can be computed together are (networks of one architecture trained as a stack):
            ``auto`` where that pays, by a fixed rule; ``always`` on any device; ``never``. The results are then those
            of single tasks up to rounding.
        count_gpus: Finds the number of GPUs; torch is asked by default.

    Raises:
        StoreError: If there is something to compute and the workspace cannot be written.
        SpecificationError: If the device is not there, or both `workers` and `per_gpu` are given.
        WeightscapeError: If processes cannot start or cannot import an operation.
        KeyboardInterrupt: At the second Ctrl-C or SIGTERM; nothing that is published is lost.
    """
    began = time.monotonic()
    run = Run(outcomes_of(plan, store))
    if run.count("waiting"):
        store.check_writable()
    _discard_damaged(plan, store, run.outcomes, listen)
    ledger = Ledger(Agenda(plan, run.outcomes, partial(group_label, device=device, stack=stack)), store, listen)
    if ledger.agenda.is_finished:
        return run
    with stop_on_signal() as stopping:
        if workers == 0 and per_gpu is None:
            use_threads(threads)
            compute_here(ledger, device=device, data_root=data_root, stopping=stopping, stack=stack)
        else:
            _check_processes(plan)
            places = plan_workplaces(
                device=device, workers=workers, per_gpu=per_gpu, threads=threads, count_gpus=count_gpus
            )
            compute_in_processes(
                ledger, workplaces=places, data_root=data_root, stopping=stopping, patience=patience, stack=stack
            )
    took = time.monotonic() - began
    return Run(ledger.agenda.outcomes, interrupted=not ledger.agenda.is_finished, seconds=took)


def _check_processes(plan: Plan) -> None:
    """Refuse what cannot be computed in other processes.

    Raises:
        WeightscapeError: On systems where workers cannot be started, and for operations that they cannot import.
    """
    if os.name != "posix":
        raise WeightscapeError("Worker processes need Linux or macOS; use --workers 0 to compute in one process.")
    check_importable(plan.tasks.values())


def _discard_damaged(plan: Plan, store: Store, outcomes: dict[str, Outcome], listen: Callable[[Event], None]) -> None:
    """Remove results that tasks are about to read and whose files are not what was published: they are made anew."""
    sound: set[str] = set()
    for task in reversed(list(plan.tasks.values())):
        if outcomes[task.key].status == "cached":
            continue
        for bound in task.upstream():
            record = None if bound.path else store.get(bound.key)
            if record is None:
                continue
            # An earlier version of this package may have published it without an output that is asked for now.
            fault = f"it has no {bound.field!r}" if bound.field not in record.outputs else ""
            if not fault and bound.key not in sound:
                fault = ", ".join(record.damaged())
            sound.add(bound.key)
            if not fault or not _discard(record, fault, store):
                continue
            if bound.key in outcomes:
                outcomes[bound.key] = Outcome("waiting")
                listen(Event(plan.tasks[bound.key], outcomes[bound.key]))


def _discard(record: Record, fault: str, store: Store) -> bool:
    """Remove a damaged result, unless another run is about to see to it; return whether it is gone."""
    with store.claimed(record.key) as free:
        if not free:
            return False
        if record.folder.is_dir():
            _LOG.warning("The result %s is damaged (%s); it is computed anew.", record.folder, fault)
            store.discard(record)
        store.forget(record.key)
    return True
