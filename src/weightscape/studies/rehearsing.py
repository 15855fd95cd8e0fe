"""Try out what tasks ask of networks, before a run computes anything.

Architectures are built without weights, which takes torch and may run code of the user's own, as the run does. Planning
does neither, and the process of a run that leaves the work to others does not either: another process tries tasks out.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import TypeAlias

from weightscape.errors import Problem
from weightscape.studies.executors.transport import pack, unpack
from weightscape.studies.executors.workplaces import thread_environment
from weightscape.studies.keys import canonical
from weightscape.studies.options import place_of
from weightscape.studies.plan import Plan, Task
from weightscape.studies.problems import Problems
from weightscape.studies.workspace.store import Store

_LOG = logging.getLogger(__name__)
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from weightscape.studies.rehearsing import main; main()"
)
Found: TypeAlias = Mapping[str, Sequence[Problem]]
"""What is wrong with tasks, by key."""


def rehearse(plan: Plan, store: Store, *, here: bool = False) -> None:
    """Check what can be known of tasks that are still to be computed, as their operations say (``Rehearsal``).

    Of tasks that ask the same of the same networks, one is tried out. Nothing is loaded where there is nothing to ask.
    What cannot be known is no mistake; the task finds it.

    Args:
        plan: The tasks.
        store: Has those that are computed already, which are not asked again.
        here: Whether to load torch and the user's code into this process.

    Raises:
        SpecificationError: With all that is wrong, at its places in the study.
    """
    asked: dict[str, Task] = {}
    stands_for: dict[str, Task] = {}
    for key, task in plan.tasks.items():
        if task.operation.rehearsal is not None and store.get(key) is None:
            stands_for[key] = asked.setdefault(_question(task), task)
    if not asked:
        return
    found = (_tried_here if here else _tried_elsewhere)(list(asked.values()))
    problems = Problems(plan.study.document)
    for name, stage in plan.stages.items():
        for row in stage.rows:
            tried = stands_for.get(row.key)
            for problem in () if tried is None else found.get(tried.key, ()):
                place = place_of(name, problem.where, row.places)
                problems.add(place, problem.expected, problem.received, problem.remedy)
    problems.raise_if_any()


def _question(task: Task) -> str:
    rehearsal = task.operation.rehearsal
    looks_at = set() if rehearsal is None else set(rehearsal.looks_at)
    return canonical([task.operation.name, task.settings.model_dump(mode="json", include=looks_at)])


def _tried_here(tasks: Sequence[Task]) -> Found:
    return {task.key: _tried(task) for task in tasks}


def _tried(task: Task) -> Sequence[Problem]:
    try:
        return task.operation.rehearsal.problems(task.settings) if task.operation.rehearsal else ()
    except Exception as error:  # foreign code: the run shows what it raises, if that is so in earnest, too
        _LOG.debug("%s could not be tried out: %r", task.operation.name, error)
        return ()


def _tried_elsewhere(tasks: Sequence[Task]) -> Found:
    """Try tasks out in a process of their own, which ends after it; if it fails, nothing is known."""
    path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
    done = subprocess.run(
        [sys.executable, "-P", "-c", _START, path],
        input=pickle.dumps([pack(task) for task in tasks]),
        capture_output=True,
        check=False,
        env={**os.environ, **thread_environment(1)},
    )
    if done.returncode:
        _LOG.debug("Tasks could not be tried out: %s", done.stderr.decode(errors="replace"))
        return {}
    return {key: [Problem(*said) for said in several] for key, several in json.loads(done.stdout).items()}


def main() -> None:
    """Read tasks and write what is wrong with each, for the process that started this one."""
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what user code prints is no answer
    found: dict[str, list[tuple[str, ...]]] = {}
    for parcel in pickle.load(sys.stdin.buffer):
        try:
            found[parcel.key] = [astuple(problem) for problem in _tried(unpack(parcel))]
        except Exception as error:  # the run says so, too
            _LOG.debug("%s cannot be opened: %r", parcel.operation, error)
    with answer:
        json.dump(found, answer)
