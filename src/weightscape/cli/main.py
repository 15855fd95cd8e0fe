"""The command ``weightscape``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from weightscape import __version__
from weightscape.cli import data_verbs, keeping_verbs, network_verbs, study_verbs, table_verbs, workspace_verbs
from weightscape.cli.doctor import doctor
from weightscape.cli.stopping import signals_interrupt
from weightscape.cli.verbs import Verbs, leave

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PANELS: dict[str, list[Callable[..., None]]] = {
    "Studies": [study_verbs.plan, study_verbs.run, study_verbs.status, study_verbs.figure, study_verbs.report],
    "Results": [table_verbs.table, table_verbs.query, workspace_verbs.ls, workspace_verbs.show],
    "Workspace": [keeping_verbs.export, keeping_verbs.verify, keeping_verbs.gc],
    "Networks and data": [network_verbs.layers, network_verbs.symmetry],
    "Help": [workspace_verbs.recipes, workspace_verbs.schema, doctor],
}
for _panel, _verbs in _PANELS.items():
    for _verb in _verbs:
        app.command(rich_help_panel=_panel)(_verb)
app.add_typer(data_verbs.app, name="data", rich_help_panel="Networks and data")


@app.callback(epilog="Start with: weightscape recipes, then weightscape run digits-transfer")
def weightscape(
    debug: Annotated[
        bool, typer.Option("--debug", metavar="", help="Show the traceback of an error; goes anywhere.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", metavar="", help="Print the version.")] = False,
) -> None:
    """Train populations of neural networks and chart what they learn, transfer and share.

    A study is a YAML file. Running it computes what the workspace lacks, and writes tables, figures and a report.
    """
    if version:
        print(__version__)
        leave(0)


def main() -> None:
    """Run the command line.

    Raises:
        SystemExit: With 0; 2 for wrong input; 3 when tasks failed; 130 when interrupted.
    """
    signals_interrupt()
    _replace_closed_streams()
    arguments = sys.argv[1:]
    if "--debug" in arguments:
        arguments = ["--debug", *(argument for argument in arguments if argument != "--debug")]
    try:
        app(arguments, prog_name="weightscape")
    except SystemExit:
        _flush()
        raise
    except BrokenPipeError:
        _flush()
        raise SystemExit(0) from None


def _replace_closed_streams() -> None:
    """Write to nowhere what would go to a stream that was closed before the start (``>&-``)."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open until the end)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _flush() -> None:
    """Write what is left, or nothing if nobody reads it; Python would complain about that at its end."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
