"""Rows of files as they were when a study was planned before, for files that are gone since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from weightscape.errors import StoreError
from weightscape.expansion import Expanded
from weightscape.operation import Operation
from weightscape.studies.specification import Study
from weightscape.studies.workspace.store import Store


def recorded_rows(
    study: Study, stage: str, operation: Operation, settings: BaseModel, store: Store | None
) -> list[Expanded]:
    """Return the rows that a stage of the same words had before, if all of their results are in the workspace.

    Args:
        study: The study.
        stage: Name of the stage.
        operation: Its operation, which has an expansion.
        settings: Its settings, at one point of the grid.
        store: The workspace.
    """
    if store is None or operation.expansion is None or study.name not in store.study_names():
        return []
    try:
        plan = store.study_plan(study.name)
        written = study.settings.stages[stage].model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if plan["document"]["stages"].get(stage) != written:
            return []
        located = operation.expansion.located
        same = settings.model_dump(mode="json", exclude=set(located))
        rows = [row for row in plan["stages"][stage]["rows"] if _has(row["settings"], same)]
        found = [_row(row, located, same, store) for row in rows]
    except (StoreError, KeyError, TypeError):
        return []
    return [row for row in found if row is not None] if None not in found else []


def _has(row: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    return all(name in row and row[name] == value for name, value in settings.items())


def _row(row: Mapping[str, Any], located: tuple[str, ...], same: Mapping[str, Any], store: Store) -> Expanded | None:
    record = store.get(row["key"])
    if record is None:
        return None
    options = {name: record.settings[name] for name in located}
    columns = {name: value for name, value in row["settings"].items() if name not in same}
    return Expanded(options, columns, dict(record.content["content"]))
