"""Run the tasks of a plan in this process, each published as soon as it is done.

A failing task never stops independent ones; what depends on it is reported as blocked. On Ctrl-C or SIGTERM the running
task saves its state and the next run continues it.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeAlias

from filelock import FileLock, Timeout

from weightscape.errors import Interrupted, StoreError, WeightscapeError
from weightscape.operation import Context
from weightscape.results import Result
from weightscape.studies.binding import Bound
from weightscape.studies.plan import Plan, Task
from weightscape.studies.store import Record, Store

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
"""Seconds between looks at whether to stop while another process holds a lock."""
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
    """The outcomes of a run by key of the task."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    interrupted: bool = False

    def count(self, status: Status) -> int:
        """Return how many tasks have a status."""
        return sum(outcome.status == status for outcome in self.outcomes.values())


def run_plan(
    plan: Plan,
    store: Store,
    *,
    device: str = "cpu",
    data_root: Path | None = None,
    listen: Callable[[Event], None] = lambda event: None,
) -> Run:
    """Compute what the store does not have yet.

    Args:
        plan: The tasks.
        store: Where results are read from and published to.
        device: Torch device.
        data_root: Folder of data sets.
        listen: Called at each change, for a display.

    Raises:
        StoreError: If there is something to compute and the workspace cannot be written.
    """
    run = Run(outcomes_of(plan, store))
    if run.count("waiting"):
        store.check_writable()
    _discard_damaged(plan, store, run.outcomes)
    with _stoppable() as stopping:
        for task in plan.tasks.values():
            if run.outcomes[task.key].status == "cached":
                continue
            if stopping.is_set():
                run.interrupted = True
                break
            outcome = _blocked(task, run.outcomes)
            if outcome is None:
                context = _context(task, store, device, data_root, stopping, listen)
                outcome = _run_task(task, store, context)
            run.outcomes[task.key] = outcome
            run.interrupted = outcome.status == "waiting"
            listen(Event(task, outcome))
            if run.interrupted:
                break
    return run


def outcomes_of(plan: Plan, store: Store) -> dict[str, Outcome]:
    """Return what is known of each task without running anything."""
    return {key: Outcome("cached" if store.get(key) else "waiting") for key in plan.tasks}


def _discard_damaged(plan: Plan, store: Store, outcomes: dict[str, Outcome]) -> None:
    """Remove results that tasks are about to read and whose files are not what was published: they are made anew."""
    sound: set[str] = set()
    for task in reversed(list(plan.tasks.values())):
        if outcomes[task.key].status == "cached":
            continue
        for bound in task.upstream():
            record = None if bound.path or bound.key in sound else store.get(bound.key)
            sound.add(bound.key)
            if record is None or not (files := record.damaged()):
                continue
            _LOG.warning("The result %s is damaged (%s); it is computed anew.", record.folder, ", ".join(files))
            store.discard(record)
            if bound.key in outcomes:
                outcomes[bound.key] = Outcome("waiting")


def _blocked(task: Task, outcomes: Mapping[str, Outcome]) -> Outcome | None:
    for bound in task.upstream():
        upstream = outcomes.get(bound.key)
        if upstream is not None and upstream.status in {"failed", "blocked"}:
            return Outcome("blocked", f"needs {bound.key[:8]}, which {upstream.status}")
    return None


def _context(
    task: Task,
    store: Store,
    device: str,
    data_root: Path | None,
    stopping: threading.Event,
    listen: Callable[[Event], None],
) -> Context:
    return Context(
        device=device,
        data_root=data_root,
        partial=store.partial_folder(task.key),
        progress=lambda share, text: listen(Event(task, None, share, text)),
        should_stop=stopping.is_set,
    )


def _run_task(task: Task, store: Store, context: Context) -> Outcome:
    started = time.perf_counter()
    try:
        with _locked(store, task.key, context.should_stop):
            if store.get(task.key):  # computed meanwhile by another process
                return Outcome("cached")
            context.progress(0.0, "starting")
            _call(task, store, context)
    except Interrupted as error:
        return Outcome("waiting", str(error))
    except (Exception, SystemExit) as error:  # the boundary between tasks: whatever one does must not stop the others
        _write_log(store.log_file(task.key))
        return Outcome("failed", f"{type(error).__name__}: {error}", time.perf_counter() - started)
    return Outcome("done", seconds=time.perf_counter() - started)


def _write_log(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError as error:  # a full disk may be why the task failed; its message is shown all the same
        _LOG.warning("The log %s cannot be written: %s", path, error)


def _call(task: Task, store: Store, context: Context) -> Record:
    started = time.perf_counter()
    inputs = {name: _load(value, store) for name, value in task.inputs.items()}
    settings: dict[str, Any] = {name: getattr(task.settings, name) for name in type(task.settings).model_fields}
    assert context.partial is not None
    context.partial.mkdir(parents=True, exist_ok=True)
    result = task.operation(**inputs, **settings, **({"context": context} if task.operation.takes_context else {}))
    _check(task, result)
    return store.publish(task, result, seconds=time.perf_counter() - started, device=context.device)


def _check(task: Task, result: object) -> None:
    """Say of an operation that does not keep its word what it should have returned.

    Raises:
        WeightscapeError: If the result is none.
    """
    if not isinstance(result, Result):
        expected = "a result (a frozen dataclass derived from weightscape.results.Result)"
        raise WeightscapeError(
            f"{task.operation.name!r} should return {expected}, it returned {type(result).__name__}."
        )


def _load(value: Bound | tuple[Bound, ...], store: Store) -> Any:
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


@contextmanager
def _locked(store: Store, key: str, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Hold the lock of a key; another process that computes it is waited for, but not against the user's will.

    Raises:
        Interrupted: If the user asked to stop meanwhile.
    """
    folder = store.folder / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{key}.lock")
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_LOOK_SECONDS)
        except Timeout:
            if should_stop():
                raise Interrupted("stopped while another process computes it") from None
        except NotImplementedError:  # a file system without locks: computing twice is harmless, the first result stays
            break
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event that tasks look at; a second signal ends the process at once."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
