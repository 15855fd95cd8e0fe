"""What the workspace holds, by the studies that use it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from weightscape.cli.printing import warn
from weightscape.cli.rows import differences, main_metrics
from weightscape.cli.signatures import plain_text
from weightscape.errors import Problem, SpecificationError, StoreError
from weightscape.studies.tables import flattened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weightscape.studies.workspace.store import Record, Store

_SETTING = re.compile(r"[\w.]+=[\w.+-]+")


class Uses:
    """Which stages of which studies use a result, and how its row differs from the others of the stage.

    Args:
        store: The workspace, whose plans are read.
    """

    def __init__(self, store: Store) -> None:
        self._found: dict[str, dict[str, str]] = {}
        self.order: dict[str, int] = {}
        for study in store.study_names():
            try:
                plan = store.study_plan(study)
            except StoreError as error:  # its results are there all the same
                warn(str(error))
                continue
            for name, stage in plan["stages"].items():
                texts = differences([row["settings"] for row in stage["rows"]])
                for row, text in zip(stage["rows"], texts, strict=True):
                    self._found.setdefault(row["key"], {}).setdefault(f"{study}/{name}", text)
                    self.order.setdefault(row["key"], len(self.order))

    def stages(self, key: str) -> list[str]:
        """Return the stages that use a result, as references."""
        return list(self._found.get(key, ()))

    def text(self, key: str) -> str:
        """Return the settings by which a result is told apart in the first stage that uses it."""
        return next(iter(self._found.get(key, {}).values()), "")

    def matcher(self, pattern: str) -> Callable[[Record], bool]:
        """Return a function that says whether a result fits a pattern.

        Args:
            pattern: A regular expression, searched for in what is known of the result; or one or more settings
                ``NAME=VALUE``, which fit a setting of exactly this name (or its last part) and value.

        Raises:
            SpecificationError: If it is not a regular expression.
        """
        words = pattern.split()
        if words and all(map(_SETTING.fullmatch, words)):
            wanted = [(name, value) for name, _, value in (word.partition("=") for word in words)]
            return lambda record: all(_has(record, name, value) for name, value in wanted)
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise SpecificationError([Problem("REGEX", "a regular expression", repr(pattern), f"{error}.")]) from error
        return lambda record: expression.search(self.searchable(record)) is not None

    def searchable(self, record: Record) -> str:
        """Return the text that a pattern is searched in."""
        settings = [f"{name}={value}" for name, value in flattened(record.settings).items()]
        return " ".join([record.key, record.content["operation"], *settings, *self.stages(record.key)])


def _has(record: Record, name: str, value: str) -> bool:
    return any(
        (full == name or full.endswith(f".{name}")) and value in {str(found), plain_text(found)}
        for full, found in flattened(record.settings).items()
    )


def json_of(record: Record, uses: Uses) -> dict[str, Any]:
    """Return what a machine wants to know about a result."""
    names = ("key", "operation", "version", "settings", "metrics")
    return {name: record.content[name] for name in names} | {"studies": uses.stages(record.key)}


def rows_by_stage(found: Sequence[Record], uses: Uses) -> dict[str, list[dict[str, Any]]]:
    """Return printable rows by the stage that uses them first, in its order; those that no study uses come last."""
    grouped: dict[str, list[Record]] = {}
    for record in sorted(found, key=lambda record: uses.order.get(record.key, len(uses.order))):
        operation, stages = record.content["operation"], uses.stages(record.key)
        title = f"{stages[0]} ({operation})" if stages else f"{operation}, in no study"
        grouped.setdefault(title, []).append(record)
    return {title: _rows(records, uses) for title, records in grouped.items()}


def _rows(records: Sequence[Record], uses: Uses) -> list[dict[str, Any]]:
    alone = differences([record.settings for record in records])
    return [
        {"key": record.key, "settings": uses.text(record.key) or text, **main_metrics(record.metrics)}
        for record, text in zip(records, alone, strict=True)
    ]
