"""Compute tasks in this process, one after the other: for notebooks, debuggers and tests."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from weightscape.operation import Context
from weightscape.studies.executors.group import run_group
from weightscape.studies.executors.ledger import Ledger
from weightscape.studies.executors.workplaces import put_back, torch_settings
from weightscape.studies.plan import Task
from weightscape.together import Stack

LOOK_SECONDS = 0.2
"""Seconds between looks at whether to stop, and at what other runs have published."""


def compute_here(
    ledger: Ledger, *, device: str, data_root: Path | None, stopping: threading.Event, stack: Stack = "auto"
) -> None:
    """Compute all tasks until none is left or the wish to stop is heard.

    Args:
        ledger: The tasks.
        device: Torch device.
        data_root: Folder of data sets.
        stopping: Set by the wish to stop.
        stack: Whether tasks that can be computed together are.
    """

    def context(task: Task) -> Context:
        return context_of(task, ledger, device=device, data_root=data_root, stopping=stopping, stack=stack)

    before = torch_settings()
    while not (ledger.agenda.is_finished or ledger.interrupted or stopping.is_set()):
        group = ledger.next_group()
        try:
            run_group(group, ledger.store, context, ledger.take)
        finally:
            put_back(before)
        if not group and ledger.agenda.has_postponed:
            time.sleep(LOOK_SECONDS)
            ledger.resume_postponed()


def context_of(
    task: Task, ledger: Ledger, *, device: str, data_root: Path | None, stopping: threading.Event, stack: Stack
) -> Context:
    """Return what a task that runs in this process may use."""
    return Context(
        device=device,
        data_root=data_root,
        partial=ledger.store.partial_folder(task.key),
        progress=lambda share, text: ledger.progress(task, share, text),
        should_stop=stopping.is_set,
        stack=stack,
    )
