"""Verbs that look at what there is: ls, show, recipes, schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from weightscape.cli import completion
from weightscape.cli.options import Json, Pattern, Workspace


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
    key: Annotated[
        str,
        typer.Argument(metavar="KEY", help="The key of a result, or its beginning.", autocompletion=completion.keys),
    ],
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


def schema() -> None:
    """Print the JSON Schema of study files, for editors.

    It holds the operations and figures that are installed here, with all of their options.
    """
    from weightscape.cli.printing import print_json
    from weightscape.report.study_schema import study_schema

    print_json(study_schema())


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?:])\s+(?=[A-Z])", text, maxsplit=1)[0]


def _input_text(value: Any) -> str:
    if value and isinstance(value[0], list):
        return ", ".join(_input_text(member) for member in value)
    key, field, step = value
    return f"{key[:8]}.{field}" + (f"@{step}" if step else "")
