"""Verbs on studies: plan, run, status, figure, report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from weightscape.cli import completion
from weightscape.cli.options import (
    DataDir,
    Device,
    Json,
    Overrides,
    PerGpu,
    StackChoice,
    StudyName,
    Threads,
    Workers,
    Workspace,
)
from weightscape.cli.verbs import TASKS_FAILED, leave
from weightscape.errors import Problem, SpecificationError, did_you_mean

if TYPE_CHECKING:
    from weightscape.cli.opening import Opened
    from weightscape.report.study import StudyFigure
    from weightscape.studies.executors.execution import Run

Again = Annotated[bool, typer.Option("--again", metavar="", help="Draw even if tables and settings are as before.")]


def plan(
    study: StudyName,
    overrides: Overrides = None,
    workspace: Workspace = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show what a study would compute; compute nothing."""
    from weightscape.cli.opening import open_study
    from weightscape.cli.telling import print_plan

    opened = open_study(study, overrides=overrides, workspace=workspace, data_dir=data_dir, prefer="bundled")
    print_plan(opened, as_json=as_json)


def run(
    study: StudyName,
    overrides: Overrides = None,
    workspace: Workspace = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    workers: Workers = None,
    per_gpu: PerGpu = None,
    threads: Threads = None,
    stack: StackChoice = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", metavar="", help="Only show the plan.")] = False,
    as_json: Json = False,
) -> None:
    """Compute what a study still needs; write tables, figures, report.

    The same command continues a run that was stopped, and computes nothing twice.
    """
    from weightscape.cli.opening import check_device, open_study
    from weightscape.cli.running import compute, exit_code, rehearse, report_failures
    from weightscape.cli.telling import print_plan, print_run
    from weightscape.studies.tables import write_plan, write_study
    from weightscape.studies.workspace.damage import discard_damaged_tables

    check_device(device)
    opened = open_study(study, overrides=overrides, workspace=workspace, data_dir=data_dir, prefer="bundled")
    if dry_run:
        print_plan(opened, as_json=as_json)
        return
    rehearse(opened, workers=workers, per_gpu=per_gpu, as_json=as_json)
    discard_damaged_tables(opened.plan, opened.store)
    write_plan(opened.plan, opened.store)
    done = compute(
        opened,
        device=device,
        threads=threads,
        workers=workers,
        per_gpu=per_gpu,
        stack=stack,
        as_json=as_json,
    )
    write_study(opened.plan, done.outcomes, opened.store)
    figures: list[StudyFigure] = []
    if not done.interrupted:
        figures = _make_page(opened, done)
    print_run(opened, done, figures, as_json=as_json)
    report_failures(opened, done)
    leave(exit_code(done) or _undrawn(figures))


def status(
    study: StudyName,
    overrides: Overrides = None,
    workspace: Workspace = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show how far a study is, and what failed."""
    from weightscape.cli.opening import open_study
    from weightscape.cli.printing import print_json, print_rows, warn
    from weightscape.cli.rows import known_run, stage_counts
    from weightscape.cli.running import counts, failures, report_failures, sentence
    from weightscape.report.provenance import mixtures

    opened = open_study(study, overrides=overrides, workspace=workspace, data_dir=data_dir)
    known = known_run(opened.plan, opened.store)
    stages = stage_counts(opened.plan, known)
    if as_json:
        found = {"study": opened.plan.study.name, "stages": stages, "tasks": counts(known)}
        print_json(found | {"failures": failures(opened, known)})
        return
    print_rows(stages, title=opened.plan.study.name, fold=False)
    print(sentence(known))
    report_failures(opened, known)
    for warning in mixtures(opened.plan, opened.store):
        warn(warning)


def figure(
    study: StudyName,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="One figure; all by default.", autocompletion=completion.figures),
    ] = None,
    overrides: Overrides = None,
    workspace: Workspace = None,
    data_dir: DataDir = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Draw the figures of a study: PDF, PNG and CSV."""
    from weightscape.cli.opening import open_study
    from weightscape.cli.printing import print_json
    from weightscape.cli.telling import figure_facts, print_figures
    from weightscape.report.study import draw_figures

    opened = open_study(study, overrides=overrides, workspace=workspace, data_dir=data_dir)
    names = _chosen(opened, name)
    _write_tables(opened)
    drawn = draw_figures(opened.plan, opened.store, names=names, again=again)
    if as_json:
        print_json([figure_facts(item) for item in drawn])
    else:
        print_figures(drawn)
    leave(_undrawn(drawn))


def report(
    study: StudyName,
    overrides: Overrides = None,
    workspace: Workspace = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write the report of a study: one HTML page."""
    from weightscape.cli.opening import open_study
    from weightscape.cli.printing import print_json
    from weightscape.cli.telling import report_path

    opened = open_study(study, overrides=overrides, workspace=workspace, data_dir=data_dir)
    figures = _make_page(opened, _write_tables(opened))
    path = report_path(opened)
    if as_json:
        print_json({"report": path})
    else:
        print(path)
    leave(_undrawn(figures))


def _chosen(opened: Opened, name: str | None) -> list[str]:
    """Return the names of the figures to draw.

    Raises:
        SpecificationError: If the study has no figure of that name.
    """
    known = opened.plan.study.settings.figures
    if name is not None and name not in known:
        remedy = did_you_mean(name, known) or "The study has no figures."
        raise SpecificationError([Problem("NAME", "a figure of the study", repr(name), remedy)])
    return list(known) if name is None else [name]


def _write_tables(opened: Opened) -> Run:
    from weightscape.cli.rows import known_run
    from weightscape.studies.tables import write_study

    known = known_run(opened.plan, opened.store)
    write_study(opened.plan, known.outcomes, opened.store)
    return known


def _make_page(opened: Opened, done: Run) -> list[StudyFigure]:
    from weightscape.report.study import draw_figures, write_study_report

    figures = draw_figures(opened.plan, opened.store)
    write_study_report(opened.plan, done, opened.store, figures)
    return figures


def _undrawn(figures: list[StudyFigure]) -> int:
    return TASKS_FAILED if any(item.problem for item in figures) else 0
