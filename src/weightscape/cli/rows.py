"""What is known of the tasks of a plan, and how each is called in one line."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from weightscape.studies.executors.outcomes import Outcome, Run, outcomes_of
from weightscape.studies.naming import differences as differences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightscape.results import Scalar
    from weightscape.studies.plan import Plan
    from weightscape.studies.workspace.store import Store

_METRICS_SHOWN = 2


def known_run(plan: Plan, store: Store) -> Run:
    """Return what earlier runs left: results, logs of failures, and what these block."""
    outcomes = outcomes_of(plan, store)
    for key, task in plan.tasks.items():
        if outcomes[key].status == "cached":
            continue
        log = store.log_file(key)
        bad = [bound.key for bound in task.upstream() if _is_bad(outcomes.get(bound.key))]
        if bad:
            outcomes[key] = Outcome("blocked", f"needs {bad[0][:8]}, which {outcomes[bad[0]].status}")
        elif log.is_file():
            outcomes[key] = Outcome("failed", message_of(log.read_text(encoding="utf-8")))
    return Run(outcomes)


def message_of(log: str) -> str:
    r"""Return the message of a traceback as the run that failed showed it.

    >>> message_of('Traceback (most recent call last):\n  File "a.py", line 1\n    f()\nroom.Odd: first\n  second')
    'Odd: first\n  second'
    """
    lines = log.strip().splitlines()
    last = max((place for place, line in enumerate(lines) if line.startswith('  File "')), default=-1)
    begins = next((place for place in range(last + 1, len(lines)) if not lines[place].startswith(" ")), last + 1)
    return re.sub(r"^(\w+\.)+(?=\w)", "", "\n".join(lines[begins:]))


def _is_bad(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.status in {"failed", "blocked"}


def labels(plan: Plan) -> dict[str, str]:
    """Return a short name for each task: its first stage, and the settings in which that stage's rows differ."""
    found: dict[str, str] = {}
    for name, stage in plan.stages.items():
        texts = differences([row.settings for row in stage.rows])
        for row, text in zip(stage.rows, texts, strict=True):
            found.setdefault(row.key, f"{name} {text}".strip())
    return found


def main_metrics(metrics: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the metrics that say most: accuracies first, never more than two.

    >>> main_metrics({"train_loss": 0.25, "count": 5, "test_accuracy": 0.97})
    {'test_accuracy': 0.97, 'train_loss': 0.25}
    """
    chosen = [name for name, value in metrics.items() if isinstance(value, float) and not name.endswith("stderr")]
    chosen.sort(key=lambda name: "accuracy" not in name)
    return {name: metrics[name] for name in chosen[:_METRICS_SHOWN]}


def stage_counts(plan: Plan, run: Run) -> list[dict[str, Any]]:
    """Return one row per stage: its operation, its rows, and how many have which status."""
    counted = []
    for name, stage in plan.stages.items():
        counts = Counter(_simple(run.outcomes[row.key].status) for row in stage.rows)
        operation = plan.study.settings.stages[name].run
        head = {"stage": name, "operation": operation, "rows": len(stage.rows)}
        counted.append(head | {status: counts[status] for status in ("done", "failed", "blocked", "waiting")})
    return counted


def _simple(status: str) -> str:
    return "done" if status == "cached" else status
