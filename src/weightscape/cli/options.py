"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from weightscape.cli import completion
from weightscape.together import Stack

StudyName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="A YAML file, a bundled study by name or number, or a study of the workspace.",
        autocompletion=completion.studies,
    ),
]
Workspace: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        metavar="FOLDER",
        envvar="WEIGHTSCAPE_WORKSPACE",
        help="Where results are kept; ./weightscape-runs by default.",
    ),
]
DataDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        envvar="WEIGHTSCAPE_DATA",
        help="Where data sets are; ~/.cache/weightscape/data by default. NAME=FOLDER for one data set alone.",
    ),
]
Overrides: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="STAGE.OPTION=VALUE",
        help="Set an option of a stage, e.g. --set trained.recipe.epochs=3; repeatable.",
    ),
]
Device: TypeAlias = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="auto, cpu, cuda or cuda:1; auto takes a GPU if there is one.",
        autocompletion=completion.devices,
    ),
]
StackChoice: TypeAlias = Annotated[
    Stack,
    typer.Option(
        "--stack",
        metavar="WHEN",
        help="Train networks of one kind together: auto (small ones on a GPU), always or never. Equal up to rounding.",
    ),
]
Threads: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        help="CPU threads of each process; the cores divided by the processes by default.",
    ),
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=0,
        metavar="N",
        envvar="WEIGHTSCAPE_WORKERS",
        help="Processes that compute at the same time, 1 by default; 0 computes in this process, for debuggers.",
    ),
]
PerGpu: TypeAlias = Annotated[
    int | None, typer.Option("--per-gpu", min=1, metavar="K", help="Processes for each GPU, instead of --workers.")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON, and nothing else, on stdout.")]
Pattern: TypeAlias = Annotated[str, typer.Argument(metavar="[REGEX]", help="Regular expression to search for.")]
DataName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME",
        help="Data set that gives the shape and the classes.",
        autocompletion=completion.data_sets,
    ),
]
Shape: TypeAlias = Annotated[
    str | None, typer.Option("--shape", metavar="C,H,W", help="Shape of one input, e.g. 3,32,32.")
]
Classes: TypeAlias = Annotated[
    int | None, typer.Option("--classes", min=1, metavar="N", help="Number of classes; 10 by default.")
]
ModelName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A name, settings ('{name: mlp, hidden: [64]}'), a dotted path; or weights: a file, a key, study/stage.",
        autocompletion=completion.models,
    ),
]
ModelSettings: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="OPTION=VALUE", help="Set an option of the model, e.g. --set width=0.5; repeatable."),
]
