"""What the page of every single result says: how it was computed, where its tables are, what its data are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weightscape.studies.workspace.record import Record


def facts_of(record: Record) -> dict[str, str]:
    """Return with what a result was computed, how long that took, and its key."""
    from weightscape.report.provenance import duration

    content = record.content
    facts = {name: "not set" if value is None else str(value) for name, value in content["environment"].items()}
    return facts | {"computing time": duration(float(content["seconds"]["total"])), "key": record.key}


def table_files(record: Record, tables: Mapping[str, object]) -> dict[str, str]:
    """Return where the full tables are, relative to the page."""
    return {name: f"../objects/{record.key[:2]}/{record.key}/{name}.parquet" for name in tables}


def data_notes(name: str) -> list[str]:
    """Return what is to be known of a data set of the catalogue."""
    from weightscape.data.catalogue import describe
    from weightscape.data.sources import source_kind

    notes = describe(name).notes if source_kind(name) == "catalogue" else ""
    return [f"{name}: {notes}"] if notes else []


def short_name(name: str) -> str:
    """Return the end of a path, which tells files apart; other references as they are.

    >>> short_name("/home/me/nets/in0-gn0/110000.pt"), short_name("study/trained")
    ('in0-gn0/110000.pt', 'study/trained')
    """
    parts = Path(name).parts
    return "/".join(parts[-2:]) if len(parts) > 2 else name


def percent(share: float) -> str:
    """Return a share in percent.

    >>> percent(0.98765)
    '98.8 %'
    """
    return f"{100 * share:.1f} %"
