"""Verbs that read results: table, ls, show, recipes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weightscape.cli.options import DataDir, Json, Overrides, StudyName, Workspace
from weightscape.errors import Problem, SpecificationError, did_you_mean

if TYPE_CHECKING:
    import pandas

    from weightscape.cli.opening import Opened
    from weightscape.studies.store import Record, Store

Pattern = Annotated[str, typer.Argument(metavar="[REGEX]", help="Regular expression to search for.")]


def table(
    study: StudyName,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="A stage of the study.")],
    detail: Annotated[
        str | None, typer.Option("--detail", metavar="FIELD", help="A detail table of the stage, such as steps.")
    ] = None,
    overrides: Overrides = None,
    workspace: Workspace = None,
    data_dir: DataDir = None,
    as_csv: Annotated[bool, typer.Option("--csv", metavar="", help="Print CSV, and nothing else, on stdout.")] = False,
    as_json: Json = False,
) -> None:
    """Print a table: a row per task of a stage, or its details."""
    from weightscape.cli.opening import open_study
    from weightscape.cli.printing import print_json, print_rows, records, warn
    from weightscape.report.provenance import mixtures

    opened = open_study(study, overrides=overrides, workspace=workspace, data_dir=data_dir)
    frame = _table(opened, stage, detail)
    for warning in mixtures(opened.plan, opened.store):
        warn(warning)
    if as_csv:
        print(frame.to_csv(index=False, lineterminator="\n"), end="")
    elif as_json:
        print_json(records(frame))
    elif frame.empty:
        print("No rows: nothing of this stage has been computed yet.")
    else:
        metrics = {name for row in opened.plan.stages[stage].rows for name in _metric_names(opened.store, row.key)}
        print_rows(records(frame), keep=metrics)


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


def ls(pattern: Pattern = "", workspace: Workspace = None, as_json: Json = False) -> None:
    """List the results of the workspace.

    REGEX is searched for in the key, operation, settings (name=value) and studies of each.
    """
    from weightscape.cli.opening import open_store
    from weightscape.cli.printing import print_json, print_rows

    store = open_store(workspace)
    expression = _expression(pattern)
    used = _studies_by_key(store)
    found = [record for record in store.records() if expression.search(_searchable(record, used))]
    if as_json:
        print_json([_facts(record, used) for record in found])
        return
    for operation in dict.fromkeys(record.content["operation"] for record in found):
        same = [record for record in found if record.content["operation"] == operation]
        print_rows(_listed(same, used), title=f"{operation} ({len(same)})", fold=False)
    if not found:
        studies = ", ".join(store.study_names()) or "none"
        print(f"No result matches in {store.folder}. Studies there: {studies}.")


def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key of a result, or its beginning.")],
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Show one result: settings, inputs, metrics, what computed it."""
    from weightscape.cli.opening import open_store
    from weightscape.cli.printing import print_facts, print_json
    from weightscape.studies.tables import flattened

    store = open_store(workspace)
    record = store.find(key)
    used = _studies_by_key(store).get(record.key, [])
    content = record.content
    if as_json:
        print_json(content | {"folder": str(record.folder), "studies": used})
        return
    head = {"key": record.key, "folder": str(record.folder), "studies": ", ".join(used)}
    print_facts(head, title=f"{content['operation']} (version {content['version']})")
    sections: dict[str, Mapping[str, Any]] = {
        "metrics": content["metrics"],
        "settings": flattened(content["settings"]),
        "inputs": {name: _input_text(value) for name, value in content["inputs"].items()},
        "outputs": content["outputs"],
        "content": content["content"],
        "environment": content["environment"],
        "seconds": content["seconds"],
    }
    for title, facts in sections.items():
        if facts:
            print()
            print_facts(facts, title=title)


def recipes(pattern: Pattern = "", as_json: Json = False) -> None:
    """List the bundled studies; run one by its name or number."""
    from weightscape.cli.printing import print_json, print_rows
    from weightscape.recipes import find_recipe, recipe_names
    from weightscape.studies.document import read_file

    numbers = {name: number for number, name in enumerate(recipe_names(), start=1)}
    found = []
    for name in recipe_names(pattern):
        data = read_file(find_recipe(name)).data
        found.append({"number": numbers[name], "name": name, "about": " ".join(str(data.get("about", "")).split())})
    if as_json:
        print_json(found)
    elif found:
        print_rows(found, fold=False)
        print("Run one with: weightscape run NUMBER (or NAME)")
    else:
        print("No bundled study matches.")


def _expression(pattern: str) -> re.Pattern[str]:
    """Return a compiled pattern.

    Raises:
        SpecificationError: If it is not a regular expression.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise SpecificationError([Problem("REGEX", "a regular expression", repr(pattern), f"{error}.")]) from error


def _studies_by_key(store: Store) -> dict[str, list[str]]:
    import json

    used: dict[str, list[str]] = {}
    for study in store.study_names():
        stages = json.loads((store.study_folder(study) / "plan.json").read_text(encoding="utf-8"))["stages"]
        for name, stage in stages.items():
            for key in dict.fromkeys(row["key"] for row in stage["rows"]):
                used.setdefault(key, []).append(f"{study}/{name}")
    return used


def _searchable(record: Record, used: Mapping[str, list[str]]) -> str:
    from weightscape.studies.tables import flattened

    settings = " ".join(f"{name}={value}" for name, value in flattened(record.settings).items())
    return " ".join([record.key, record.content["operation"], settings, *used.get(record.key, [])])


def _facts(record: Record, used: Mapping[str, list[str]]) -> dict[str, Any]:
    names = ("key", "operation", "version", "settings", "metrics")
    return {name: record.content[name] for name in names} | {"studies": used.get(record.key, [])}


def _listed(found: list[Record], used: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    from weightscape.cli.rows import differences, main_metrics

    texts = differences([record.settings for record in found])
    return [
        {
            "key": record.key,
            "settings": text,
            "metrics": main_metrics(record.metrics),
            "used by": ", ".join(used.get(record.key, [])),
        }
        for record, text in zip(found, texts, strict=True)
    ]


def _input_text(value: Any) -> str:
    if value and isinstance(value[0], list):
        return ", ".join(_input_text(member) for member in value)
    key, field, step = value
    return f"{key[:8]}.{field}" + (f"@{step}" if step else "")
