"""Operations whose results are told in words and have a page of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightscape.cli.opening import Opened
    from weightscape.studies.executors.execution import Run

_TOLD = {"diagnose"}


def tell_results(opened: Opened, done: Run, given: Mapping[str, Any]) -> bool:
    """Write the page of each finished row, and tell a single one in words.

    Args:
        opened: The planned command.
        done: What became of its tasks.
        given: Inputs, settings and options as typed.

    Returns:
        Whether all is said; else the rows are still to be printed.
    """
    (stage,) = opened.plan.stages
    rows = opened.plan.stages[stage].rows
    finished = [row.key for row in rows if done.outcomes[row.key].status in {"done", "cached"}]
    if opened.plan.study.settings.stages[stage].run not in _TOLD or not finished:
        return False
    if len(rows) == 1:
        _tell(opened, finished[0])
    pages = [_page(opened, key, given) for key in finished]
    for page in pages:
        print(f"page  {page}")
    if len(rows) == 1:
        print(f"key   {finished[0]}")
    return len(rows) == 1


def _tell(opened: Opened, key: str) -> None:
    from weightscape.cli.printing import print_wrapped, warn
    from weightscape.report.diagnosis import cautions, findings

    record = opened.store.get(key)
    assert record is not None
    for sentence in findings(record.metrics, record.settings):
        print_wrapped(sentence, "")
    for caution in cautions(record.metrics):
        warn(caution)


def _page(opened: Opened, key: str, given: Mapping[str, Any]) -> str:
    from weightscape.cli.printing import KEY_SHOWN
    from weightscape.report.diagnosis import write_diagnosis

    record = opened.store.get(key)
    assert record is not None
    names = {name: str(given[f"input_{name}"]) for name in ("source", "target")}
    path = opened.store.folder / "pages" / f"diagnose-{key[:KEY_SHOWN]}.html"
    return str(write_diagnosis(record, path, names=names))
