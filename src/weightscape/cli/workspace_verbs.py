"""Verbs that read results: table, ls, show, recipes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weightscape.cli.options import DataDir, Json, Overrides, Pattern, StudyName, Workspace
from weightscape.errors import Problem, SpecificationError, did_you_mean

if TYPE_CHECKING:
    import pandas

    from weightscape.cli.opening import Opened
    from weightscape.studies.store import Store


def table(
    study: StudyName,
    stage: Annotated[
        str | None,
        typer.Argument(metavar="[STAGE]", help="A stage of the study; may be left out if there is one only."),
    ] = None,
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
    stage = stage or _only_stage(opened)
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
        inputs = {name for row in opened.plan.stages[stage].rows for name in opened.plan.tasks[row.key].inputs}
        print_rows(records(frame), keep=metrics, inputs=inputs)


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


def ls(pattern: Pattern = "", workspace: Workspace = None, as_json: Json = False) -> None:
    """List the results of the workspace.

    REGEX is searched for in the key, operation, settings (name=value) and studies of each. Plain settings such as
    'seed=7' or 'seed=7 method=fgmt' mean exactly these.
    """
    from weightscape.cli.listing import Uses, json_of, rows_by_stage
    from weightscape.cli.opening import open_store
    from weightscape.cli.printing import print_json, print_rows

    store = open_store(workspace)
    uses = Uses(store)
    wanted = uses.matcher(pattern)
    found = [record for record in store.records() if wanted(record)]
    if as_json:
        print_json([json_of(record, uses) for record in found])
        return
    for number, (title, rows) in enumerate(rows_by_stage(found, uses).items()):
        print_rows(rows, title=f"{chr(10) * bool(number)}{title}", fold=False)
    if not found:
        studies = ", ".join(store.study_names()) or "none"
        print(f"No result matches in {store.folder}. Studies there: {studies}.")


def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key of a result, or its beginning.")],
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Show one result: settings, inputs, metrics, what computed it."""
    from weightscape.cli.listing import Uses
    from weightscape.cli.opening import open_store
    from weightscape.cli.printing import print_facts, print_json
    from weightscape.studies.tables import flattened

    store = open_store(workspace)
    record = store.find(key)
    used = Uses(store).stages(record.key)
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
        about = " ".join(str(data.get("about", "")).split())
        found.append({"number": numbers[name], "name": name, "about": about if as_json else _first_sentence(about)})
    if as_json:
        print_json(found)
    elif found:
        print_rows(found, fold=False)
        print("Run one with: weightscape run NUMBER (or NAME)")
    else:
        print("No bundled study matches.")


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?:])\s+(?=[A-Z])", text, maxsplit=1)[0]


def _input_text(value: Any) -> str:
    if value and isinstance(value[0], list):
        return ", ".join(_input_text(member) for member in value)
    key, field, step = value
    return f"{key[:8]}.{field}" + (f"@{step}" if step else "")
