"""The tables of a study: one row per task, and the detail tables of its results with the settings beside them.

Tables depend on the plan and the results alone: no times, no dates, so that running again gives the same bytes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightscape import recipes
from weightscape.errors import StoreError
from weightscape.studies.executors.outcomes import Outcome
from weightscape.studies.plan import Plan, StagePlan
from weightscape.studies.relation import column_of
from weightscape.studies.workspace.files import drafts, reason, replacing, write_text
from weightscape.studies.workspace.store import PLAN, Store

_PATIENCE = 30.0
"""Seconds to wait for another process that writes the same tables; drafts have names of their own in any case."""

if TYPE_CHECKING:
    import pandas
    import pyarrow


def write_study(plan: Plan, outcomes: Mapping[str, Outcome], store: Store) -> Path:
    """Write ``plan.json`` and the tables of all stages into the folder of the study, which is returned.

    Raises:
        StoreError: If the folder cannot be written, or a result cannot be read.
    """
    folder = store.study_folder(plan.study.name)
    with _writing(folder), store.claimed(f"study-{plan.study.name}", seconds=_PATIENCE) as alone:
        if alone:
            for left in drafts(folder):
                left.unlink(missing_ok=True)
        _write_files(folder, plan, outcomes, store)
    store.tidy(plan.tasks)
    return folder


def write_plan(plan: Plan, store: Store) -> None:
    """Write ``plan.json`` alone, so that the workspace knows the study from the moment at which it begins.

    Raises:
        StoreError: If it cannot be written.
    """
    folder = store.study_folder(plan.study.name)
    with _writing(folder):
        write_text(folder / PLAN, json.dumps(describe(plan), indent=1))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make a folder, and say so clearly when something cannot be written to it.

    Raises:
        StoreError: In that case.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StoreError(f"The tables cannot be written to {folder}: {reason(error)}") from error


def _write_files(folder: Path, plan: Plan, outcomes: Mapping[str, Outcome], store: Store) -> None:
    write_text(folder / PLAN, json.dumps(describe(plan), indent=1))
    for name in plan.stages:
        _write_table(folder / f"{name}.parquet", stage_table(plan, name, outcomes, store))
        for field, artefact in plan.stages[name].outputs.items():
            if artefact == "Table":
                _write_table(folder / f"{name}.{field}.parquet", detail_table(plan, name, field, store))


def describe(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain data: what other studies and people can read."""
    stages = {
        name: {
            "operation": plan.study.settings.stages[name].run,
            "outputs": dict(stage.outputs),
            "rows": [{"key": row.key, "settings": dict(row.settings)} for row in stage.rows],
        }
        for name, stage in plan.stages.items()
    }
    document = plan.study.settings.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {
        "format": 1,
        "study": plan.study.name,
        "folder": _folder(plan),
        "about": plan.study.settings.about,
        "document": document,
        "stages": stages,
    }


def _folder(plan: Plan) -> str | None:
    """Return the folder that user code of the study is imported from; bundled studies have none."""
    folder = plan.study.folder
    return None if folder is None or folder.is_relative_to(Path(recipes.__file__).parent) else str(folder)


def stage_table(plan: Plan, name: str, outcomes: Mapping[str, Outcome], store: Store) -> pandas.DataFrame:
    """Return one row per task: key, status, message, settings (nested ones dotted) and metrics."""
    import pandas

    heads, metrics = [], []
    for row in plan.stages[name].rows:
        record = store.get(row.key)
        outcome = outcomes.get(row.key, Outcome("waiting"))
        status = "done" if record else outcome.status
        head = {"key": row.key, "status": status, "message": "" if record else outcome.message}
        heads.append({**head, **flattened(row.settings)})
        metrics.append(record.metrics if record else {})
    # Settings that only some rows have go before the metrics, too.
    columns = dict.fromkeys(column for part in (*heads, *metrics) for column in part)
    rows = [{**head, **measured} for head, measured in zip(heads, metrics, strict=True)]
    return pandas.DataFrame(rows, columns=list(columns))


def detail_table(plan: Plan, name: str, field: str, store: Store) -> pandas.DataFrame:
    """Return the detail tables of all finished rows of a stage, one below the other, settings beside each line."""
    import pandas

    settings = _varying(plan.stages[name])
    found = [
        ({"key": row.key, **columns}, record.table(field))
        for row, columns in zip(plan.stages[name].rows, settings, strict=True)
        # A result from before the operation made this table has none.
        if (record := store.get(row.key)) is not None and field in record.outputs
    ]
    return _beside(found) if found else pandas.DataFrame({"key": pandas.Series(dtype="str")})


def _beside(found: Sequence[tuple[Mapping[str, Any], pyarrow.Table]]) -> pandas.DataFrame:
    """Return tables one below the other, each with its settings beside it; a table's own columns go before these.

    Columns are put together in Arrow: with a data frame for each of a thousand results, this takes seconds.
    """
    import numpy
    import pandas

    own = {column for _, table in found for column in table.column_names}
    parts = [
        functools.reduce(
            lambda table, column: table.append_column(column, column_of([settings[column]] * len(table))),
            (column for column in settings if column in own and column not in table.column_names),
            table,
        )
        for settings, table in found
    ]
    details = _one_below_the_other(parts)
    beside = _frame([{name: value for name, value in settings.items() if name not in own} for settings, _ in found])
    repeated = beside.take(numpy.repeat(numpy.arange(len(parts)), [len(part) for part in parts]))
    return pandas.concat([repeated.reset_index(drop=True), details], axis=1)


def _frame(rows: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Return rows of settings as a table, in which whole numbers stay whole where some are missing."""
    import pandas

    table = pandas.DataFrame(rows, dtype=object)
    whole = [name for name in table if all(value is None or isinstance(value, int) for value in table[name])]
    gaps = [name for name in whole if table[name].isna().any()]
    return table.astype({name: table[name].infer_objects().dtype for name in table if name not in gaps})


def _one_below_the_other(parts: Sequence[pyarrow.Table]) -> pandas.DataFrame:
    import pandas
    import pyarrow

    try:
        together = pyarrow.concat_tables(parts, promote_options="permissive").to_pandas(ignore_metadata=True)
    except pyarrow.ArrowTypeError:  # text in one table, and gaps that were written as numbers in another
        together = pandas.concat([part.to_pandas() for part in parts], ignore_index=True)
    assert isinstance(together, pandas.DataFrame)
    return together


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings under dotted names; lists become their JSON text.

    >>> flattened({"seed": 1, "recipe": {"lr": 0.1, "milestones": [3]}})
    {'seed': 1, 'recipe.lr': 0.1, 'recipe.milestones': '[3]'}
    """
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat.update(flattened(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = json.dumps(value) if isinstance(value, list | tuple) else value
    return flat


def _varying(stage: StagePlan) -> list[dict[str, Any]]:
    # Settings that all rows share would repeat in each line of a detail table; the stage's own table has them.
    rows = [flattened(row.settings) for row in stage.rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    differing = {name for name in names if len({json.dumps(row.get(name)) for row in rows}) > 1}
    kept = [name for name in names if name in differing or name.rpartition(".")[2] == "seed"]
    return [{name: row.get(name) for name in kept} for row in rows]


def _write_table(path: Path, table: pandas.DataFrame) -> None:
    with replacing(path) as draft:
        _of_one_type_each(table).to_parquet(draft, index=False)


def _of_one_type_each(table: pandas.DataFrame) -> pandas.DataFrame:
    """Return a table in which columns that no file can hold are text: of mixed types, or of numbers beyond 64 bits."""
    texts: dict[str, list[Any]] = {}
    for name in (str(name) for name in table if table[name].dtype == object):
        column = column_of([None if value is None or value != value else value for value in table[name]])
        if str(column.type) == "string":
            texts[name] = column.to_pylist()
    return table.assign(**texts)
