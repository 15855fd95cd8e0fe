"""One task: take its lock, read its inputs, compute, publish. The boundary that keeps failures apart."""

from __future__ import annotations

import logging
import os
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from weightscape.errors import Interrupted, StoreError, WeightscapeError
from weightscape.operation import Context
from weightscape.results import Result
from weightscape.studies.binding import Bound
from weightscape.studies.executors.outcomes import Outcome
from weightscape.studies.executors.shorter import find_shorter
from weightscape.studies.plan import Task
from weightscape.studies.workspace.record import EARLIER
from weightscape.studies.workspace.store import Record, Store

_LOG = logging.getLogger(__name__)


def run_task(task: Task, store: Store, context: Context) -> Outcome | None:
    """Compute and publish one task, unless that is done already.

    Args:
        task: What to compute.
        store: Where inputs are read from and the result is published to.
        context: Device, folders, progress and the wish to stop.

    Returns:
        What became of it, a failure included; None when another process computes it at this moment.
    """
    started = time.perf_counter()
    try:
        with store.claimed(task.key) as ours:
            if store.get(task.key):  # computed meanwhile by another process
                return Outcome("cached")
            if not ours:
                return None
            context.progress(0.0, "starting")
            _compute(task, store, context)
    except Interrupted as error:
        return Outcome("waiting", str(error))
    except (Exception, SystemExit) as error:  # whatever one task does must not stop the others
        if store.get(task.key):  # two processes at once, where there are no locks: the other one was faster
            return Outcome("cached")
        write_log(store.log_file(task.key), traceback.format_exc())
        return Outcome("failed", f"{type(error).__name__}: {error}", time.perf_counter() - started)
    return Outcome("done", seconds=time.perf_counter() - started)


def write_log(path: Path, text: str) -> None:
    """Write why a task failed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:  # a full disk may be why the task failed; its message is shown all the same
        _LOG.warning("The log %s cannot be written: %s", path, error)


def _compute(task: Task, store: Store, context: Context) -> Record:
    started = time.perf_counter()
    call = call_of(task, store)
    assert context.partial is not None
    context.partial.mkdir(parents=True, exist_ok=True)
    shorter = find_shorter(task, store, device=context.device)
    context = replace(context, earlier=shorter)
    process = os.getpid()
    try:
        result = task.operation(**call, **({"context": context} if task.operation.takes_context else {}))
    finally:
        if os.getpid() != process:  # a copy that the task has forked, of which it has let go
            os._exit(1)
    check_result(task, result)
    how = {} if shorter is None else {EARLIER: shorter.key}
    return store.publish(task, result, seconds=time.perf_counter() - started, device=context.device, how=how)


def call_of(task: Task, store: Store) -> dict[str, Any]:
    """Return the arguments of a task's function but its context: inputs, read from the store, and settings.

    Raises:
        StoreError: If a result that it needs is gone or damaged.
    """
    inputs = {name: load_input(value, store) for name, value in task.inputs.items()}
    return inputs | {name: getattr(task.settings, name) for name in type(task.settings).model_fields}


def check_result(task: Task, result: object) -> None:
    """Say of an operation that does not keep its word what it should have returned.

    Raises:
        WeightscapeError: If the result is none.
    """
    if not isinstance(result, Result):
        expected = "a result (a frozen dataclass derived from weightscape.results.Result)"
        raise WeightscapeError(
            f"{task.operation.name!r} should return {expected}, it returned {type(result).__name__}."
        )


def load_input(value: Bound | tuple[Bound, ...], store: Store) -> Any:
    """Read what fills one parameter: an artefact, or a population of them.

    Raises:
        StoreError: If a result is gone or damaged.
    """
    if isinstance(value, tuple):
        from weightscape.weights.population import Population

        return Population([(bound.key, _load_one(bound, store)) for bound in value])
    return _load_one(value, store)


def _load_one(bound: Bound, store: Store) -> Any:
    if bound.path is not None:
        from weightscape.weights.files import load_weights

        return load_weights(bound.path)
    record = store.get(bound.key)
    if record is None:
        raise StoreError(f"The result {bound.key} is not in {store.folder} any more; run the study it is from again.")
    artefact = record.artefact(bound.field)
    return artefact if bound.step is None else artefact.at(bound.step)
