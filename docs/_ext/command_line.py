"""The commands of the command line as Markdown, read from the program itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Table = Callable[[Sequence[str], Iterable[Sequence[str]]], str]


def sections(table: Table) -> str:
    """Return a section per command."""
    import typer.main

    from weightscape.cli.main import app

    group = typer.main.get_command(app)
    context: Any = group.make_context("weightscape", [], resilient_parsing=True)
    found = []
    for name in group.list_commands(context):
        _, command, _ = group.resolve_command(context, [name])
        found += _sections(command, f"weightscape {name}", context, table)
    return "\n".join(found)


def _sections(command: Any, path: str, parent: Any, table: Table, level: int = 2) -> list[str]:
    context = command.context_class(command, info_name=path.rpartition(" ")[2], parent=parent)
    usage = " ".join([path, *map(_argument, _arguments(command)), "[OPTIONS]"])
    lines = [f"{'#' * level} {path.removeprefix('weightscape ')}\n", f"```text\n{usage}\n```\n", _text(command.help)]
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    if rows:
        lines.append(table(["", "default", "meaning"], rows))
    for name in getattr(command, "commands", {}):
        lines += _sections(command.commands[name], f"{path} {name}", context, table, level + 1)
    return lines


def _arguments(command: Any) -> list[Any]:
    return [parameter for parameter in command.params if parameter.param_type_name == "argument"]


def _argument(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name.upper())
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _text(text: str | None) -> str:
    return (text or "").split("\f")[0].replace("``", "`") + "\n"


def _row(parameter: Any) -> list[str]:
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    if parameter.param_type_name == "argument":
        names = f"`{_argument(parameter)}`"
    default = parameter.default
    plain = isinstance(default, str | int | float) and not isinstance(default, bool)
    extra = f" (environment: `{parameter.envvar}`)" if getattr(parameter, "envvar", None) else ""
    help_text = (getattr(parameter, "help", None) or "").replace("``", "`").replace("\n", " ")
    return [names, f"`{default}`" if plain else "", _escaped(help_text) + extra]


def _escaped(text: str) -> str:
    return re.sub(r"(?<!`)(--[\w-]+)", r"`\1`", text.replace("<", "&lt;").replace("*", "\\*"))
