"""Compute what a plan still needs, with a display, and say what became of it."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

from weightscape.cli.opening import Opened, check_device, pick_device
from weightscape.cli.printing import KEY_SHOWN, note
from weightscape.cli.rows import known_run, labels
from weightscape.cli.verbs import INTERRUPTED, TASKS_FAILED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from weightscape.studies.executors.execution import Run, Status
    from weightscape.studies.executors.workplaces import Workplace
    from weightscape.together import Stack

_LISTED_FAILURES = 20
_LISTED_ALIKE = 2


def compute(
    opened: Opened,
    *,
    device: str,
    threads: int | None,
    workers: int | None = None,
    per_gpu: int | None = None,
    stack: Stack = "auto",
    as_json: bool = False,
) -> Run:
    """Run the tasks that have no result yet; neither torch nor a display is loaded when there are none.

    Args:
        opened: The planned study.
        device: Device as the user named it.
        threads: Number of CPU threads of each process; the cores divided by the processes when None.
        workers: Number of processes; 1 by default, 0 for this process.
        per_gpu: Number of processes for each GPU, instead.
        stack: Whether tasks that can be computed together are.
        as_json: Whether stdout is kept for JSON, so that what tasks print goes to stderr.
    """
    check_device(device)
    before = known_run(opened.plan, opened.store)
    total, cached = len(opened.plan.tasks), before.count("cached")
    if cached == total:
        return before
    from weightscape.cli.progress import Progress, display
    from weightscape.cli.stopping import announce_stopping
    from weightscape.studies.executors.execution import run_plan
    from weightscape.studies.executors.workplaces import plan_workplaces
    from weightscape.training.memory import keep_freed_memory

    here = _is_here(workers, per_gpu)
    if workers is None and per_gpu is None:
        workers = 1
    chosen = pick_device(device)
    places = plan_workplaces(device=chosen, workers=workers, per_gpu=per_gpu, threads=threads)
    if here:
        keep_freed_memory()
    if total > 1:
        earlier = f", {cached} from before" if cached else ""
        note(f"{opened.plan.study.name}: {total} tasks{earlier}{'' if here else _crew(places)}")
    progress = Progress(opened.plan, before, opened.store, workers=len(places))
    with display(progress) as shown, announce_stopping(shown.say, end=here), _aside(as_json):
        return run_plan(
            opened.plan,
            opened.store,
            workers=workers,
            per_gpu=per_gpu,
            device=chosen,
            threads=threads,
            stack=stack,
            data_root=opened.data_root,
            listen=shown,
        )


def rehearse(opened: Opened, *, workers: int | None, per_gpu: int | None, as_json: bool = False) -> None:
    """Try out what the tasks that have no result yet ask of networks; where nothing is asked, nothing is loaded.

    Args:
        opened: The planned study.
        workers: As for :func:`compute`.
        per_gpu: As for :func:`compute`.
        as_json: As for :func:`compute`.

    Raises:
        SpecificationError: With everything that is wrong.
    """
    from weightscape.studies import rehearsing

    with _aside(as_json):
        rehearsing.rehearse(opened.plan, opened.store, here=_is_here(workers, per_gpu))


def _is_here(workers: int | None, per_gpu: int | None) -> bool:
    return workers == 0 and per_gpu is None


def _aside(as_json: bool) -> AbstractContextManager[object]:
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


def _crew(places: Sequence[Workplace]) -> str:
    """Return in words how many processes compute with what, unless there is only one."""
    if len(places) == 1:
        return ""
    devices = sorted({place.device for place in places})
    threads = places[0].threads
    where = "" if devices == ["cpu"] else f" on {', '.join(devices)}"
    return f"; {len(places)} workers{where} with {threads} thread{'s' * (threads != 1)} each"


def failures(opened: Opened, run: Run) -> list[dict[str, str]]:
    """Return what failed: short name, key, message and the path of the log."""
    names = labels(opened.plan)
    return [
        {
            "task": names[key],
            "key": key,
            "message": outcome.message,
            "log": str(opened.store.log_file(key)),
        }
        for key, outcome in run.outcomes.items()
        if outcome.status == "failed"
    ]


def report_failures(opened: Opened, run: Run) -> None:
    """Name failed tasks with their message and log, on stderr; those of one message together."""
    failed, blocked = failures(opened, run), run.count("blocked")
    if not failed and not blocked:
        return
    waiting = f"; {blocked} cannot start because of {'it' if len(failed) == 1 else 'them'}" if blocked else ""
    note(f"{len(failed)} of {len(run.outcomes)} task{'s' * (len(run.outcomes) != 1)} failed{waiting}.", "bold")
    alike: dict[str, list[dict[str, str]]] = {}
    for failure in failed:
        alike.setdefault(failure["message"], []).append(failure)
    all_of_them = f"weightscape status {opened.plan.study.name} --json"
    for message, (first, *others) in list(alike.items())[:_LISTED_FAILURES]:
        note(f"  {first['key'][:KEY_SHOWN]}  {first['task']}\n    {message}\n    log: {first['log']}")
        for failure in others[:_LISTED_ALIKE]:
            note(f"  {failure['key'][:KEY_SHOWN]}  {failure['task']}: the same\n    log: {failure['log']}")
        if len(others) > _LISTED_ALIKE:
            note(f"  ... and {len(others) - _LISTED_ALIKE} more with the same message: {all_of_them}")
    if len(alike) > _LISTED_FAILURES:
        note(f"  ... and {len(alike) - _LISTED_FAILURES} more messages: {all_of_them}")


def exit_code(run: Run) -> int:
    """Return 0 when everything is done, else the code of what happened."""
    if run.interrupted:
        return INTERRUPTED
    return TASKS_FAILED if run.count("failed") or run.count("blocked") else 0


def counts(run: Run) -> dict[str, Any]:
    """Return how many tasks have which status, and the time of those computed now."""
    statuses: tuple[Status, ...] = ("done", "cached", "failed", "blocked", "waiting")
    found: dict[str, Any] = {status: run.count(status) for status in statuses}
    return found | {"seconds": round(sum(outcome.seconds for outcome in run.outcomes.values()), 3)}


def sentence(run: Run) -> str:
    """Return the counts in words, such as ``12 tasks: 4 done in 8.2 s, 8 from before``."""
    from weightscape.report.provenance import duration

    count = counts(run)
    words = [
        (count["done"], f"done in {duration(run.seconds)}"),
        (count["cached"], "from before"),
        (count["failed"], "failed"),
        (count["blocked"], "blocked"),
        (count["waiting"], "not computed"),
    ]
    total = len(run.outcomes)
    return f"{total} task{'s' * (total != 1)}: " + ", ".join(f"{number} {text}" for number, text in words if number)
