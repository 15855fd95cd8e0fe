"""Verbs that print tables: table, query."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weightscape.cli import completion
from weightscape.cli.options import DataDir, Json, Overrides, StudyName, Workspace
from weightscape.errors import Problem, SpecificationError, did_you_mean

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from weightscape.cli.opening import Opened
    from weightscape.studies.workspace.store import Store

_FORMATS = (".csv", ".json", ".parquet")
_FOLDED = 4
"""From so many columns whose names begin alike, the list of tables gives their number."""
Csv = Annotated[bool, typer.Option("--csv", metavar="", help="Print CSV, and nothing else, on stdout.")]
Output = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Write a .csv, .json or .parquet file instead.")
]


def table(
    study: StudyName,
    stage: Annotated[
        str | None,
        typer.Argument(
            metavar="[STAGE]",
            help="A stage of the study; may be left out if there is one only.",
            autocompletion=completion.stages,
        ),
    ] = None,
    detail: Annotated[
        str | None,
        typer.Option(
            "--detail",
            metavar="FIELD",
            help="A detail table of the stage, such as steps.",
            autocompletion=completion.details,
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="NAMES", help="Only these columns: seed,test_accuracy.")
    ] = None,
    overrides: Overrides = None,
    workspace: Workspace = None,
    data_dir: DataDir = None,
    as_csv: Csv = False,
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Print a table: a row per task of a stage, or its details."""
    from weightscape.cli.opening import open_study
    from weightscape.cli.printing import print_rows, records, warn
    from weightscape.report.provenance import mixtures

    opened = open_study(study, overrides=overrides, workspace=workspace, data_dir=data_dir)
    stage = stage or _only_stage(opened)
    frame = _chosen(_table(opened, stage, detail), columns)
    for warning in mixtures(opened.plan, opened.store):
        warn(warning)
    if _sent(frame, as_csv=as_csv, as_json=as_json, output=output):
        return
    if frame.empty:
        print("No rows: nothing of this stage has been computed yet.")
        return
    metrics = {name for row in opened.plan.stages[stage].rows for name in _metric_names(opened.store, row.key)}
    inputs = {name for row in opened.plan.stages[stage].rows for name in opened.plan.tasks[row.key].inputs}
    print_rows(records(frame), keep=metrics, inputs=inputs, fold=columns is None)


def query(
    sql: Annotated[
        str | None,
        typer.Argument(metavar="[SQL]", help="One SELECT, in DuckDB's dialect; without it, lists the tables."),
    ] = None,
    workspace: Workspace = None,
    as_csv: Csv = False,
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Ask one SELECT over all tables of the workspace.

    Tables are STUDY.STAGE, STUDY."STAGE.DETAIL" and results, which has every result there is. A name with a hyphen
    goes into double quotes. A query can read nothing but these tables.
    """
    from weightscape.cli.opening import open_store
    from weightscape.cli.printing import print_rows
    from weightscape.studies.query import answer, tables

    store = open_store(workspace)
    if sql is None:
        _list_tables(tables(store), as_json=as_json)
        return
    found = answer(store, sql)
    frame = found.to_pandas(integer_object_nulls=True)
    if _sent(frame, as_csv=as_csv, as_json=as_json, output=output, exact=found):
        return
    if found.num_rows:
        print_rows(_rows(found), fold=False)
    else:
        print(f"No rows. Columns: {', '.join(found.column_names)}.")


def _list_tables(found: dict[str, list[str]], *, as_json: bool) -> None:
    from weightscape.cli.printing import print_json, print_rows

    if as_json:
        print_json(found)
    else:
        print_rows([{"table": name, "columns": _folded(columns)} for name, columns in found.items()], fold=False)
        print("data.* (8) means eight columns: data.name and so on. All names: weightscape query --json")


def _folded(columns: Sequence[str]) -> str:
    """Return names of columns; where many begin with the same part, their number."""
    texts = []
    for first, group in groupby(columns, key=lambda name: name.partition(".")[0]):
        names = list(group)
        texts += names if len(names) < _FOLDED else [f"{first}.* ({len(names)})"]
    return ", ".join(texts)


def _rows(found: pyarrow.Table) -> list[dict[str, Any]]:
    """Return the rows of a table; columns of the same name are numbered."""
    names: list[str] = []
    for name in found.column_names:
        count = sum(known == name or known.startswith(f"{name} (") for known in names)
        names.append(f"{name} ({count + 1})" if count else name)
    columns = [column.to_pylist() for column in found.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _sent(
    frame: pandas.DataFrame, *, as_csv: bool, as_json: bool, output: Path | None, exact: pyarrow.Table | None = None
) -> bool:
    """Print or write a table for machines; return whether that was asked for."""
    from weightscape.cli.printing import print_json, records

    if output is not None:
        _write(frame, output, exact)
    elif as_csv:
        print(frame.to_csv(index=False, lineterminator="\n"), end="")
    elif as_json:
        print_json(records(frame))
    return output is not None or as_csv or as_json


def _write(frame: pandas.DataFrame, path: Path, exact: pyarrow.Table | None) -> None:
    """Write a table to a file, as its ending says.

    Raises:
        SpecificationError: If the ending is none of those known, or the file cannot be written.
    """
    from weightscape.cli.printing import json_text, records
    from weightscape.studies.workspace.files import replacing

    ending = path.suffix.lower()
    if ending not in _FORMATS:
        raise SpecificationError([Problem("--output", f"a file ending in {', '.join(_FORMATS)}", repr(str(path)))])
    try:
        with replacing(path) as draft:
            if ending == ".csv":
                frame.to_csv(draft, index=False, lineterminator="\n")
            elif ending == ".json":
                draft.write_text(json_text(records(frame)) + "\n", encoding="utf-8")
            elif exact is None:
                frame.to_parquet(draft, index=False)
            else:
                from pyarrow import parquet

                parquet.write_table(exact, draft)
    except OSError as error:
        raise SpecificationError([Problem("--output", "a file that can be written", f"{error}")]) from error


def _chosen(frame: pandas.DataFrame, columns: str | None) -> pandas.DataFrame:
    """Return the chosen columns of a table, in the order in which they were named.

    Raises:
        SpecificationError: If it lacks one.
    """
    if columns is None:
        return frame
    names = [name.strip() for name in columns.split(",") if name.strip()]
    problems = [
        Problem("--columns", "a column of the table", repr(name), did_you_mean(name, map(str, frame.columns)))
        for name in names
        if name not in frame.columns
    ]
    if problems:
        raise SpecificationError(problems)
    return frame[names]


def _only_stage(opened: Opened) -> str:
    """Return the one stage of a study.

    Raises:
        SpecificationError: If it has several, naming them.
    """
    stages = list(opened.plan.stages)
    if len(stages) > 1:
        names = ", ".join(map(repr, stages))
        raise SpecificationError([Problem("STAGE", "a stage of the study", "none", f"Its stages are {names}.")])
    return stages[0]


def _metric_names(store: Store, key: str) -> list[str]:
    record = store.get(key)
    return list(record.metrics) if record else []


def _table(opened: Opened, stage: str, detail: str | None) -> pandas.DataFrame:
    """Return the table of a stage, or one of its detail tables.

    Raises:
        SpecificationError: If there is no such stage or field.
    """
    from weightscape.cli.rows import known_run
    from weightscape.studies.tables import detail_table, stage_table

    if stage not in opened.plan.stages:
        stages = opened.plan.stages
        raise SpecificationError([Problem("STAGE", "a stage of the study", repr(stage), did_you_mean(stage, stages))])
    if detail is None:
        return stage_table(opened.plan, stage, known_run(opened.plan, opened.store).outcomes, opened.store)
    fields = [field for field, kind in opened.plan.stages[stage].outputs.items() if kind == "Table"]
    if detail not in fields:
        remedy = did_you_mean(detail, fields) or "It has none."
        raise SpecificationError([Problem("--detail", f"a detail table of {stage!r}", repr(detail), remedy)])
    return detail_table(opened.plan, stage, detail, opened.store)
