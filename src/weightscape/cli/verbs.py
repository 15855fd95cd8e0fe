"""The group of all commands: fixed verbs, and every operation as a verb that is built when it is called."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from weightscape.cli.summaries import declared_operations, operation_summary
from weightscape.errors import Interrupted, SpecificationError, WeightscapeError, did_you_mean

OPERATIONS_PANEL = "Operations, in one line"
DAMAGED = 1
WRONG_INPUT = 2
TASKS_FAILED = 3
INTERRUPTED = 130


class Verbs(TyperGroup):
    """Adds operations to the fixed verbs and turns this package's errors into messages and exit codes."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the fixed verbs in the order of their registration, then the operations of installed packages."""
        return [*super().list_commands(ctx), *declared_operations()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb; an operation is shown by its summary alone, so that ``--help`` imports none."""
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in declared_operations():
            return TyperCommand(cmd_name, help=operation_summary(cmd_name), rich_help_panel=OPERATIONS_PANEL)
        return found

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the verb that is called; operations, also by dotted path, get their options here."""
        name = args[0]
        if name in self.commands or name.startswith("-"):
            return super().resolve_command(ctx, args)
        if name not in declared_operations() and "." not in name:
            ctx.fail(f"There is no command {name!r}. {did_you_mean(name, self.list_commands(ctx))}")
        from weightscape.cli.one_line import operation_command, with_nested_options

        return name, operation_command(name), with_nested_options(args[1:])

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; errors of this package become a message on stderr and an exit code."""
        return guarded(lambda: super(Verbs, self).invoke(ctx), debug=bool(ctx.params.get("debug")))


def leave(code: int) -> NoReturn:
    """End the command.

    Args:
        code: The exit code; 130 says that the run was interrupted.

    Raises:
        Exit: In any case.
    """
    if code == INTERRUPTED:
        print("Interrupted. Finished results are kept; the same command continues.", file=sys.stderr)
    raise typer.Exit(code)


def guarded(call: Callable[[], Any], *, debug: bool = False) -> Any:
    """Call, and leave with a message and an exit code when that fails for a reason this package knows.

    Args:
        call: What to do.
        debug: Whether to let errors through, with their traceback.

    Raises:
        WeightscapeError: If `debug` lets it through.
        OSError: If `debug` lets it through, or it speaks of no file.
    """
    try:
        return call()
    except (KeyboardInterrupt, Interrupted):
        leave(INTERRUPTED)
    except BrokenPipeError:  # whoever read the output has read enough
        leave(0)
    except WeightscapeError as error:
        if debug:
            raise
        print(message(error), file=sys.stderr)
        leave(WRONG_INPUT)
    except OSError as error:
        if debug or error.filename is None:  # a closed pipe among others, which names no file
            raise
        from weightscape.studies.workspace.files import reason

        print(_wrapped(f"Error: {error.filename}: {reason(error)}", ""), file=sys.stderr)
        leave(WRONG_INPUT)


def message(error: WeightscapeError) -> str:
    """Return an error for the terminal: each problem with its place on a line of its own."""
    if not isinstance(error, SpecificationError):
        return _wrapped(f"Error: {error}", "")
    count = len(error.problems)
    parts = [f"Error: {count} problem{'s' * (count != 1)}; nothing was started."]
    for problem in error.problems:
        parts += ["", f"  {problem.where}"] if problem.where else [""]
        parts.append(_wrapped(f"expected {problem.expected}, received {problem.received}.", "    "))
        parts += [_wrapped(problem.remedy, "    ")] if problem.remedy else []
    return "\n".join(parts)


def _wrapped(text: str, indent: str) -> str:
    from weightscape.cli.printing import width

    options: dict[str, Any] = {"initial_indent": indent, "subsequent_indent": indent}
    options |= {"break_on_hyphens": False, "break_long_words": False}
    return "\n".join(textwrap.fill(line, width(sys.stderr), **options) for line in text.splitlines())
