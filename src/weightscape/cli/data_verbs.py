"""Verbs on data sets: data list, data show, data prepare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from weightscape.cli import completion
from weightscape.cli.options import DataDir, Json

app = typer.Typer(help="List, describe, look at and prepare data sets.", no_args_is_help=True)
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A data set (weightscape data list); a folder, file or function of your own, too.",
        autocompletion=completion.data_sets,
    ),
]


@app.command("list")
def list_data_sets(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the data sets, which of them are on this machine, and where."""
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
            "packaging": item["packaging"],
            "folder": item["folder"] if item["present"] else None,
        }
        for item in found
    ]
    print_rows(shown, fold=False)
    if not all(item["present"] for item in found):
        print("What a missing one needs: weightscape data show NAME. Fetch it: weightscape data prepare NAME")


@app.command("show")
def show_data_set(
    name: Name,
    data_dir: DataDir = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="FILE.png", help="Draw some images of each class, a row per class."),
    ] = None,
    per_class: Annotated[int, typer.Option("--per-class", min=1, metavar="N", help="Images per row of a sheet.")] = 8,
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="train, validation or test.")] = "train",
    augment: Annotated[
        str, typer.Option("--augment", metavar="YAML", help="Augment the images of a sheet, e.g. pad-crop-flip.")
    ] = "none",
    as_json: Json = False,
) -> None:
    """Describe a data set: sizes, classes, files and where they are looked for, its terms and whom to cite."""
    from weightscape.cli.opening import let_python_find
    from weightscape.cli.printing import print_facts, print_json
    from weightscape.data.sources import source_kind

    let_python_find(None)
    ours = source_kind(name) == "catalogue"
    facts = _facts(name, data_dir) if ours else _own_facts(name, data_dir)
    if sheet is not None:
        facts["sheet"] = str(_draw(name, data_dir, sheet, per_class, split, augment))
    if as_json:
        print_json(facts)
        return
    print_facts(
        {
            field.replace("_", " "): "\n".join(value) if isinstance(value, list) else value
            for field, value in facts.items()
        }
    )
    if ours and not facts["present"]:
        from weightscape.data.catalogue import describe

        fetch = f"Fetch it with: weightscape data prepare {name}, or put" if describe(name).is_fetched else "Put"
        print(f"{fetch} the files into one of these folders.")


def _facts(name: str, data_dir: Path | None) -> dict[str, Any]:
    from weightscape.data.catalogue import fingerprint, summary

    found = summary(name, data_dir)
    return {
        **{field: value for field, value in found.metrics().items() if field != "classes"},
        **_about(found.entry),
        "fingerprint": fingerprint(name, data_dir) if found.present else None,
        "looked_for": list(found.looked_for),
        "looked_in": [str(folder) for folder in found.looked_in],
        "citation": found.entry.citation,
        "homepage": found.entry.homepage,
        "notes": found.entry.notes,
    }


def _own_facts(name: str, data_dir: Path | None) -> dict[str, Any]:
    from weightscape.data.own import own_data

    found = own_data(name, root=data_dir)
    return {
        "name": name,
        "title": found.entry.title,
        "shape": " x ".join(map(str, found.entry.shape)),
        "train_size": found.entry.train_size,
        "test_size": found.entry.test_size,
        **_about(found.entry),
        "fingerprint": found.fingerprint,
    }


def _about(entry: Any) -> dict[str, Any]:
    numbers = [", ".join(f"{value:.4f}" for value in values) for values in (entry.mean, entry.std)]
    return {"classes": ", ".join(entry.classes), "mean": numbers[0], "standard_deviation": numbers[1]}


def _draw(name: str, data_dir: Path | None, path: Path, per_class: int, split: str, augment: str) -> Path:
    """Write a sheet of samples and return its path.

    Raises:
        BadParameter: If there is no such split or augmentation.
        DataError: If the file cannot be written as a picture.
    """
    import yaml
    from pydantic import ValidationError

    from weightscape.cli.printing import warn
    from weightscape.data.loading import load_data
    from weightscape.data.sheet import save_sheet
    from weightscape.data.specification import DataSettings

    if split not in {"train", "validation", "test"}:
        raise typer.BadParameter(f"expected train, validation or test, received {split!r}.", param_hint="--split")
    try:
        settings = DataSettings(name=name, augment=yaml.safe_load(augment))
    except (ValidationError, yaml.YAMLError) as error:
        wrong = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise typer.BadParameter(wrong, param_hint="--augment") from error
    if isinstance(settings.augment, tuple) and any(transform.name == "mixup" for transform in settings.augment):
        warn("The sheet shows the images before mixup: it has no rows for images of two classes.")
    return save_sheet(
        load_data(settings, root=data_dir),
        path,
        per_class=per_class,
        split=split,  # type: ignore[arg-type]
        augment=settings.augment,
    )


@app.command("prepare")
def prepare_data_set(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Fetch a data set unless it is here, verify it, and keep it decoded for the processes to come."""
    from weightscape.cli.printing import print_facts, print_json
    from weightscape.data.catalogue import describe
    from weightscape.data.preparation import prepare_and_verify

    describe(name)
    facts = prepare_and_verify(name, data_dir).metrics()
    if as_json:
        print_json(facts)
    else:
        print_facts({field.replace("_", " "): value for field, value in facts.items()})


@app.command("get", hidden=True)
def get_data_set(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Like prepare."""
    prepare_data_set(name, data_dir, as_json)
