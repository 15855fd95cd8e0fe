"""Operations whose results are told in words and have a page of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from weightscape.cli.opening import Opened
    from weightscape.report.pages import Teller
    from weightscape.studies.executors.execution import Run
    from weightscape.studies.workspace.record import Record


def tell_results(opened: Opened, done: Run, given: Mapping[str, Any]) -> bool:
    """Write the page of each finished row, and tell a single one in words.

    Args:
        opened: The planned command.
        done: What became of its tasks.
        given: Inputs, settings and options as typed.

    Returns:
        Whether all is said; else the rows are still to be printed.
    """
    from weightscape.report.pages import teller_of

    (stage,) = opened.plan.stages
    rows = opened.plan.stages[stage].rows
    finished = [row.key for row in rows if done.outcomes[row.key].status in {"done", "cached"}]
    operation = opened.plan.study.settings.stages[stage].run
    teller = teller_of(operation)
    if teller is None or not finished:
        return False
    records = [record for key in finished if (record := opened.store.get(key)) is not None]
    if len(rows) == 1:
        _tell(teller, records[0])
    pages = [page for record in records for page in _pages(opened, teller, operation, record, given)]
    for page in pages:
        print(f"page  {page}")
    if len(rows) == 1:
        print(f"key   {finished[0]}")
    return len(rows) == 1


def _tell(teller: Teller, record: Record) -> None:
    from weightscape.cli.printing import print_wrapped, warn

    for sentence in teller.findings(record):
        print_wrapped(sentence, "")
    for caution in teller.cautions(record):
        warn(caution)


def _pages(opened: Opened, teller: Teller, operation: str, record: Record, given: Mapping[str, Any]) -> list[Path]:
    from weightscape.cli.printing import KEY_SHOWN
    from weightscape.report.pages import write_page

    names = {name.removeprefix("input_"): str(value) for name, value in given.items() if name.startswith("input_")}
    path = opened.store.folder / "pages" / f"{operation}-{record.key[:KEY_SHOWN]}.html"
    return write_page(teller, record, path, names=names)
