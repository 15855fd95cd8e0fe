"""Results in folders with names that people read: for a colleague, a supplement, a program that knows no workspace."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from weightscape.errors import StoreError
from weightscape.results import Result
from weightscape.studies.naming import folder_names
from weightscape.studies.tables import flattened
from weightscape.studies.workspace.artefacts import load_table
from weightscape.studies.workspace.files import reason
from weightscape.studies.workspace.record import OBJECT, TABLES, Record
from weightscape.studies.workspace.store import Store

Files: TypeAlias = Literal["copy", "link"]
TableFormat: TypeAlias = Literal["parquet", "csv"]
INDEX = "index.csv"


@dataclass(frozen=True)
class Export(Result):
    """An exported study.

    Attributes:
        folder: Where it is.
        results: Number of results in it.
        missing: Number of rows that are not computed yet and were left out.
    """

    folder: Path
    results: int
    missing: int


def export_study(
    store: Store,
    study: str,
    folder: str | Path,
    *,
    stages: Sequence[str] | None = None,
    files: Files = "copy",
    tables: TableFormat = "parquet",
) -> Export:
    """Write the results of a study, as it was last planned, under names made of the settings that differ.

    ``FOLDER/STAGE/seed=0,method=gmt/`` holds the weights as safetensors, the tables, and everything else that is known
    of a result as ``result.json``; ``FOLDER/index.csv`` has a row for each, with its folder, key, settings and metrics.
    The folder appears when it is complete.

    Args:
        store: The workspace.
        study: Name of the study.
        folder: The new folder; one that is there already and not empty is never touched.
        stages: Stages to export; all by default.
        files: Whether files are copied, or hard links to those of the workspace, which take no space. Never change a
            linked file: it is the workspace's own.
        tables: Format of the tables; CSV is written anew, never linked.

    Raises:
        StoreError: If there is no such study or stage, a result is damaged, nothing is computed yet, or the folder is
            there or cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} is there already and is never overwritten. Name a new folder, or remove that one.")
    chosen = _stages(store, study, stages)
    whole = folder.resolve()
    draft = whole.with_name(f".{whole.name}.{uuid.uuid4().hex}")
    try:
        draft.mkdir(parents=True)
        index = [
            line for name, rows in chosen.items() for line in _export_stage(store, name, rows, draft, files, tables)
        ]
        _write_index(index, draft / INDEX)
        draft.rename(whole)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {_explained(error)}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    total = sum(len({row["key"] for row in rows}) for rows in chosen.values())
    return Export(folder, len(index), total - len(index))


def _stages(store: Store, study: str, names: Sequence[str] | None) -> dict[str, list[dict[str, Any]]]:
    if study not in store.study_names():
        known = ", ".join(store.study_names()) or "none"
        raise StoreError(f"There is no study {study!r} in {store.folder}; there are: {known}. Run it first.")
    stages = store.study_plan(study)["stages"]
    unknown = [name for name in names or () if name not in stages]
    if unknown:
        raise StoreError(f"The study {study!r} has no stage {unknown[0]!r}; its stages are {', '.join(stages)}.")
    chosen = {name: list(stages[name]["rows"]) for name in names or stages}
    if not any(store.get(row["key"]) for rows in chosen.values() for row in rows):
        raise StoreError(f"Nothing of {study!r} is computed yet. Run it first: weightscape run {study}")
    return chosen


def _export_stage(
    store: Store, stage: str, rows: Sequence[Mapping[str, Any]], folder: Path, files: Files, tables: TableFormat
) -> list[dict[str, Any]]:
    different = list({row["key"]: row for row in rows}.values())
    names = folder_names([row["settings"] for row in different], [row["key"] for row in different])
    lines = []
    for row, name in zip(different, names, strict=True):
        record = store.get(row["key"])
        if record is None:
            continue
        _export_result(record, folder / stage / name, files, tables)
        head = {"stage": stage, "folder": f"{stage}/{name}", "key": record.key}
        lines.append({**head, **flattened(row["settings"]), **record.metrics})
    return lines


def _export_result(record: Record, folder: Path, files: Files, tables: TableFormat) -> None:
    """Write one result.

    Raises:
        StoreError: If it is damaged.
    """
    if damaged := record.damaged():
        remedy = "Remove it with 'weightscape verify --repair' and run the study again."
        raise StoreError(f"The result {record.folder} is damaged ({', '.join(damaged)}). {remedy}")
    folder.mkdir(parents=True)
    for name in record.content["files"]:
        source, target = record.folder / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if tables == "csv" and name.endswith(TABLES):
            load_table(source).to_csv(target.with_suffix(".csv"), index=False, lineterminator="\n")
        else:
            _place(source, target, files)
    _place(record.folder / OBJECT, folder / "result.json", files)


def _place(source: Path, target: Path, files: Files) -> None:
    if files == "link":
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


def _write_index(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    import pandas

    pandas.DataFrame(list(lines)).to_csv(path, index=False, lineterminator="\n")


def _explained(error: OSError) -> str:
    import errno

    if error.errno == errno.EXDEV:
        return "hard links cannot lead to another disk. Leave out --link to copy the files."
    return reason(error)
