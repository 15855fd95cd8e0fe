"""What the results of a study were computed with, and whether all of them with the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from weightscape.studies.plan import Plan
from weightscape.studies.workspace.record import EARLIER
from weightscape.studies.workspace.store import Store

# A difference in one of these may change the numbers, if only in the last digits.
_MATTERS = ("device", "threads", "processor", "torch", "numpy", "scipy", "weightscape")


def environments(plan: Plan, store: Store) -> dict[str, Counter[str]]:
    """Return, for each fact about the environment, how many tasks were computed with which value."""
    found: dict[str, Counter[str]] = {}
    for key in plan.tasks:
        record = store.get(key)
        facts: dict[str, Any] = record.content["environment"] if record else {}
        for name, value in facts.items():
            if name == EARLIER:
                value = "a shorter run"  # of hundreds of keys nobody learns anything
            found.setdefault(name, Counter())[_text(value)] += 1
    return found


def environment_facts(plan: Plan, store: Store) -> dict[str, str]:
    """Return the environment in words, all values of a fact where tasks differ, and the computing time."""
    facts = {name: "; ".join(sorted(values)) for name, values in environments(plan, store).items()}
    records = [record for key in plan.tasks if (record := store.get(key))]
    if records:
        facts["computing time"] = duration(sum(float(record.content["seconds"]["total"]) for record in records))
    return facts


def mixtures(plan: Plan, store: Store) -> list[str]:
    """Return a sentence for each difference in the environments of the tasks that may show in the numbers.

    Each says which stages have how many rows of which value. Tasks that do not load torch use no threads of it and
    count for none. A row that goes on from a shorter run counts for what that one was computed with, too.
    """
    found: dict[str, dict[str, Counter[str]]] = {name: {} for name in _MATTERS}
    for stage, planned in plan.stages.items():
        for key in dict.fromkeys(row.key for row in planned.rows):
            facts = list(_surroundings(key, store)) if key in plan.tasks else []
            for name in _MATTERS:
                for value in {str(known[name]) for known in facts if known.get(name) is not None}:
                    found[name].setdefault(value, Counter())[stage] += 1
    return [
        f"Rows were computed with different {name if name.endswith('s') else name + 's'}: "
        + "; ".join(f"{value} ({_rows(found[name][value])})" for value in sorted(found[name]))
        + "."
        for name in _MATTERS
        if len(found[name]) > 1
    ]


def _surroundings(key: str | None, store: Store) -> Iterator[dict[str, Any]]:
    """Yield what a result was computed with, and what the shorter ones that it goes on from were, as far as known."""
    while key and (record := store.get(key)):
        facts: dict[str, Any] = record.content["environment"]
        yield facts
        key = facts.get(EARLIER)


def _rows(stages: Counter[str]) -> str:
    return ", ".join(f"{count} of {stage}" for stage, count in stages.items())


def duration(seconds: float) -> str:
    """Return a time for reading.

    >>> duration(0.84), duration(75), duration(7380)
    ('0.8 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _text(value: Any) -> str:
    # Tasks that do not load torch have no number of threads.
    return "not set" if value is None else str(value)
