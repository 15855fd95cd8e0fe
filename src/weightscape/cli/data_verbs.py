"""Verbs on data sets: data list, data show, data get."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from weightscape.cli.options import DataDir, Json

app = typer.Typer(help="List, describe and fetch data sets.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set (weightscape data list).")]


@app.command("list")
def list_data_sets(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the data sets and which of them are on this machine."""
    from weightscape.cli.printing import print_json, print_rows
    from weightscape.data.catalogue import names, summary

    found = [summary(name, data_dir).metrics() for name in names()]
    if as_json:
        print_json(found)
        return
    shown = [
        {
            "name": item["name"],
            "images": item["shape"],
            "classes": item["classes"],
            "train": item["train_size"],
            "test": item["test_size"],
            "here": "yes" if item["present"] else "no",
        }
        for item in found
    ]
    print_rows(shown, fold=False)
    if not all(item["present"] for item in found):
        print("What a missing one needs: weightscape data show NAME. Fetch it: weightscape data get NAME")


@app.command("show")
def show_data_set(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Describe a data set: its files, where they are looked for, its terms and whom to cite."""
    from weightscape.cli.printing import print_facts, print_json
    from weightscape.data.catalogue import fingerprint, summary

    found = summary(name, data_dir)
    facts: dict[str, Any] = {
        **{field: value for field, value in found.metrics().items() if field != "classes"},
        "classes": ", ".join(found.entry.classes),
        "fingerprint": fingerprint(name, data_dir) if found.present else None,
        "looked_for": list(found.looked_for),
        "looked_in": [str(folder) for folder in found.looked_in],
        "citation": found.entry.citation,
        "homepage": found.entry.homepage,
        "notes": found.entry.notes,
    }
    if as_json:
        print_json(facts)
        return
    print_facts(
        {
            field.replace("_", " "): "\n".join(value) if isinstance(value, list) else value
            for field, value in facts.items()
        }
    )
    if not found.present:
        print(f"Fetch it with: weightscape data get {name}, or put the files into one of these folders.")


@app.command("get")
def get_data_set(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Fetch the files of a data set, unless they are here already."""
    from weightscape.cli.printing import print_json
    from weightscape.data.downloads import prepare

    folder = str(prepare(name, data_dir))
    if as_json:
        print_json({"name": name, "folder": folder})
    else:
        print(folder)
