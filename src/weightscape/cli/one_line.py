"""Every operation as a command: a study of one stage, built from options, in the same store under the same keys."""

from __future__ import annotations

import copy
import inspect
import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from weightscape.cli import completion, options
from weightscape.cli.signatures import default_text, description, is_positional, meanings, option_flag, type_text
from weightscape.cli.verbs import leave
from weightscape.errors import Problem, SpecificationError

if TYPE_CHECKING:
    from weightscape.cli.opening import Opened
    from weightscape.operation import Operation
    from weightscape.studies.executors.execution import Run

# Parameters of the command that are not settings of the operation; a setting of the same name is given by --set.
_OWN = {
    "where": Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help="Which combinations of inputs, e.g. 'source.seed < target.seed'."),
    ],
    "overrides": Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="Set an option, also a nested one: recipe.epochs=3."),
    ],
    "workspace": options.Workspace,
    "data_dir": options.DataDir,
    "device": options.Device,
    "workers": options.Workers,
    "per_gpu": options.PerGpu,
    "threads": options.Threads,
    "stack": options.StackChoice,
    "as_json": options.Json,
}
_RESERVED = {
    *("--where", "--set", "--workspace", "--data-dir", "--json", "--help"),
    *("--device", "--workers", "--per-gpu", "--threads", "--stack"),
}


def operation_command(name: str) -> Any:
    """Return the command of an operation, its options built from its signature.

    Args:
        name: Name of the operation or its dotted path.
    """
    from weightscape.cli.opening import let_python_find
    from weightscape.operation import find_operation

    let_python_find(None)
    operation = find_operation(name)

    def command(**given: Any) -> None:
        leave(_run(name, operation, given))

    parameters = _parameters(operation)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(name, help=description(operation))(command)
    return typer.main.get_command(app)


def with_nested_options(arguments: Sequence[str]) -> list[str]:
    """Return arguments in which a nested option stands as ``--set`` takes it.

    >>> with_nested_options(["--model", "mlp", "--recipe.batch-size", "64", "--recipe.epochs=2"])
    ['--model', 'mlp', '--set', 'recipe.batch_size=64', '--set', 'recipe.epochs=2']
    """
    found: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        flag, equals, value = argument.partition("=")
        if not re.fullmatch(r"--[a-z][\w-]*(\.[\w-]+)+", flag) or not (equals or left):
            found.append(argument)
            continue
        found += ["--set", f"{flag[2:].replace('-', '_')}={value if equals else left.pop(0)}"]
    return found


def _parameters(operation: Operation) -> list[inspect.Parameter]:
    made: list[tuple[str, Any, Any]] = []
    said = meanings(operation)
    for name, taken in operation.inputs.items():
        step = "@STEP" * (taken.artefact in {"Weights", "Population"})
        form = f"{taken.artefact}: study/stage{step}?WHERE, a key or a path{', optional' * taken.optional}."
        text = said.get(name, "") + form
        argument = typer.Argument(
            metavar=name.upper(), help=text, show_default=False, autocompletion=completion.references
        )
        many = taken.artefact == "Population" and len(operation.inputs) == 1
        hint: Any = Annotated[list[str], argument] if many else Annotated[str, argument]
        made.append((f"input_{name}", hint, None if taken.optional else inspect.Parameter.empty))
    settings = operation.settings.model_fields
    made += [
        _setting(operation, name, said)
        for name in sorted(settings, key=lambda name: not is_positional(settings[name]))
        if option_flag(name) not in _RESERVED
    ]
    own = {name: _apart(hint) for name, hint in _OWN.items() if operation.inputs or name != "where"}
    made += [
        (name, hint, "auto" if name in {"device", "stack"} else False if name == "as_json" else None)
        for name, hint in own.items()
    ]
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, kind, default=default, annotation=hint) for name, hint, default in made]


def _setting(operation: Operation, name: str, said: Mapping[str, str]) -> tuple[str, Any, Any]:
    """Return a setting as a parameter of the command: an argument if it is marked as positional, else an option."""
    field = operation.settings.model_fields[name]
    offered = completion.values(name, field.annotation)
    common: dict[str, Any] = {"show_default": False, "autocompletion": offered}
    if not is_positional(field):
        kind = f"{type_text(field.annotation)} {default_text(field, inherits=bool(operation.inputs))}"
        option = typer.Option(option_flag(name), metavar="VALUE", help=said.get(name, "") + kind, **common)
        return f"setting_{name}", Annotated[str | None, option], None
    needed = field.is_required()
    preset = "" if needed or field.default is None else default_text(field, inherits=False)
    argument = typer.Argument(metavar=name.upper(), help=said.get(name, "") + preset, **common)
    hint: Any = Annotated[str, argument] if needed else Annotated[str | None, argument]
    return f"setting_{name}", hint, inspect.Parameter.empty if needed else None


def _apart(hint: Any) -> Any:
    """Return a shared option in a panel of its own, below the settings of the operation."""
    base, option = get_args(hint)
    option = copy.copy(option)
    option.rich_help_panel = "Options of all operations"
    return Annotated[base, option]


def _run(name: str, operation: Operation, given: Mapping[str, Any]) -> int:
    """Compute the rows of an operation and print them; return the exit code.

    Raises:
        SpecificationError: With every mistake in the options and references.
    """
    from weightscape.cli.flags import as_flags, study_of
    from weightscape.cli.opening import Opened, open_store, plan_with_figures
    from weightscape.cli.pages import tell_results
    from weightscape.cli.recognition import follow_from_data, with_recognised_models
    from weightscape.cli.running import compute, exit_code, rehearse, report_failures

    store = open_store(given["workspace"])
    given = with_recognised_models(operation, given, store)
    wrong: list[Problem] = []
    study = study_of(name, operation, given, wrong)
    try:
        opened = Opened(plan_with_figures(study, store, given["data_dir"]), store, given["data_dir"])
        if not wrong:
            rehearse(opened, workers=given["workers"], per_gpu=given["per_gpu"], as_json=given["as_json"])
    except SpecificationError as error:
        reported = {problem.where for problem in wrong}
        if any(problem.where.startswith("--data") for problem in map(partial(as_flags, operation), error.problems)):
            reported |= follow_from_data(operation, given)
        found = [
            problem
            for problem in (as_flags(operation, item) for item in error.problems)
            if problem.where not in reported
        ]
        raise SpecificationError([*wrong, *found]) from error
    if wrong:
        raise SpecificationError(wrong)
    _note_command(opened)
    computed_by = {name: given[name] for name in ("device", "threads", "workers", "per_gpu", "stack", "as_json")}
    done = compute(opened, **computed_by)
    if given["as_json"] or not tell_results(opened, done, given):
        _print(opened, done, as_json=given["as_json"])
    report_failures(opened, done)
    return exit_code(done)


def _note_command(opened: Opened) -> None:
    """Note in the workspace that the results were asked for, so that they are no garbage though no study has them."""
    from weightscape.studies.workspace.files import write_text

    note = {"command": shlex.join(["weightscape", *sys.argv[1:]])}
    with suppress(OSError):  # a workspace that is only read: everything is there already, or the run says what is wrong
        for key in opened.plan.tasks:
            path = opened.store.command_file(key)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text(path, json.dumps(note))


def _print(opened: Opened, done: Run, *, as_json: bool) -> None:
    from weightscape.cli.printing import print_facts, print_json, print_rows, records
    from weightscape.studies.tables import stage_table

    (stage,) = opened.plan.stages
    rows = opened.plan.stages[stage].rows
    metrics = {row.key: _metrics(opened, row.key) for row in rows}
    if as_json:
        facts = [{"key": row.key, "status": done.outcomes[row.key].status} for row in rows]
        settings = [{"settings": dict(row.settings), "metrics": metrics[row.key]} for row in rows]
        print_json([first | second for first, second in zip(facts, settings, strict=True)])
    elif len(rows) > 1:
        keep = {name for found in metrics.values() for name in found}
        print_rows(
            records(stage_table(opened.plan, stage, done.outcomes, opened.store)), keep=keep, inputs=_inputs(opened)
        )
    elif metrics[rows[0].key]:
        print_facts({**metrics[rows[0].key], "key": rows[0].key})


def _inputs(opened: Opened) -> set[str]:
    return {name for task in opened.plan.tasks.values() for name in task.inputs}


def _metrics(opened: Opened, key: str) -> dict[str, Any]:
    record = opened.store.get(key)
    return dict(record.metrics) if record else {}
