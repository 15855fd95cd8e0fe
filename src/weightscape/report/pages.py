"""Operations whose single results are told in words and have a page of their own: which they are, and their pages."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import weightscape.figures
import weightscape.report
from weightscape.report.stamps import code_digest, is_current, noted_files, write_stamp
from weightscape.studies.keys import digest

if TYPE_CHECKING:
    from weightscape.report.page import Report
    from weightscape.studies.workspace.record import Record

_HOMES = {
    "diagnose": "diagnosis",
    "compare": "comparison",
    "stitch": "stitching",
    "direct-matching": "direct_matching",
}
"""The module of this package that tells the results of an operation."""


class Teller(Protocol):
    """What such a module has."""

    def findings(self, record: Record) -> list[str]:
        """Return what was found, a sentence each."""

    def cautions(self, record: Record) -> list[str]:
        """Return what must not be read into the numbers."""

    def report_of(self, record: Record, names: Mapping[str, str]) -> Report:
        """Return the content of the page; `names` is what the user called the inputs."""


def teller_of(operation: str) -> Teller | None:
    """Return the module that tells the results of an operation; None where they are printed as rows."""
    if operation not in _HOMES:
        return None
    return cast("Teller", importlib.import_module(f"weightscape.report.{_HOMES[operation]}"))


def write_page(teller: Teller, record: Record, path: Path, *, names: Mapping[str, str]) -> list[Path]:
    """Write the page of one result, if it would change; return its path and those of files that come with it.

    A module that has ``extra_files(record, path, names)`` writes these, such as a PDF, and returns their paths.

    Args:
        teller: The module that tells such results.
        record: The result.
        path: Where the page goes; its stamp goes beside it.
        names: What the user called the inputs.
    """
    from weightscape.report.page import write_report

    stamp = path.with_suffix(".json")
    code = [code_digest(Path(package.__path__[0])) for package in (weightscape.report, weightscape.figures)]
    source = digest([record.key, dict(names), record.content["environment"], code])
    written = [path, *(path.with_name(name) for name in noted_files(stamp) if name != path.name)]
    if not is_current(stamp, source, written):
        write_report(teller.report_of(record, names), path)
        extra = getattr(teller, "extra_files", None)
        written = [path, *(extra(record, path, names) if extra else ())]
        write_stamp(stamp, source, written)
    return written
