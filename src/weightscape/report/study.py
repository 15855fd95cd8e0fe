"""The report of a study: its figures, tables, settings, environment and failures on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import weightscape.report
from weightscape.report.provenance import environment_facts, mixtures
from weightscape.report.stamps import code_digest, file_digest, is_current, write_stamp
from weightscape.report.study_figures import StudyFigure, draw_figures, figure_problems
from weightscape.studies.keys import digest
from weightscape.studies.tables import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightscape.studies.executors.execution import Run
    from weightscape.studies.plan import Plan
    from weightscape.studies.workspace.store import Store

__all__ = ["StudyFigure", "draw_figures", "figure_problems", "write_study_report"]


def write_study_report(plan: Plan, run: Run, store: Store, figures: Sequence[StudyFigure]) -> Path:
    """Write the report of a study beside its tables, if it would change; return its path.

    Args:
        plan: The study, whose tables have been written.
        run: What became of its tasks.
        store: The workspace.
        figures: Its figures, as :func:`draw_figures` returns them.
    """
    folder = store.study_folder(plan.study.name)
    path, stamp = folder / "report.html", folder / "report.json"
    content: dict[str, Any] = {
        "title": plan.study.name,
        "about": plan.study.settings.about,
        "settings": yaml.safe_dump(describe(plan)["document"], sort_keys=False, allow_unicode=True, width=100),
        "environment": environment_facts(plan, store),
        "failures": _failures(plan, run, store),
        "warnings": _warnings(plan, run, store, figures),
    }
    tables = _table_files(plan, folder)
    drawn = [figure for figure in figures if not figure.problem]
    source = digest(
        {
            "content": content,
            "tables": {name: file_digest(file) for name, file in tables.items()},
            "figures": {figure.name: [figure.summary, file_digest(figure.png)] for figure in drawn},
            "code": code_digest(Path(weightscape.report.__path__[0])),
        }
    )
    if not is_current(stamp, source, [path]):
        _write(path, content, drawn, tables)
        write_stamp(stamp, source, [path])
    return path


def _write(path: Path, content: dict[str, Any], figures: Sequence[StudyFigure], tables: dict[str, Path]) -> None:
    from weightscape.report.page import Report, ReportFigure, write_report
    from weightscape.studies.workspace.artefacts import load_table

    shown = [
        ReportFigure(figure.name, figure.summary, figure.png.read_bytes(), f"figures/{figure.csv.name}")
        for figure in figures
    ]
    write_report(
        Report(figures=shown, tables={name: load_table(file) for name, file in tables.items()}, **content), path
    )


def _table_files(plan: Plan, folder: Path) -> dict[str, Path]:
    names = [
        part
        for name, stage in plan.stages.items()
        for part in (name, *(f"{name}.{field}" for field, kind in stage.outputs.items() if kind == "Table"))
    ]
    return {name: folder / f"{name}.parquet" for name in names}


def _failures(plan: Plan, run: Run, store: Store) -> list[dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, stage in plan.stages.items():
        for row in stage.rows:
            outcome = run.outcomes.get(row.key)
            if outcome is not None and outcome.status == "failed":
                log = store.log_file(row.key)
                text = log.read_text(encoding="utf-8") if log.is_file() else ""
                found.setdefault(row.key, {"stage": name, "key": row.key, "message": outcome.message, "log": text})
    return list(found.values())


def _warnings(plan: Plan, run: Run, store: Store, figures: Sequence[StudyFigure]) -> list[str]:
    total = len(plan.tasks)
    found = []
    if blocked := run.count("blocked"):
        found.append(f"{blocked} of {total} tasks could not start because a task they need has failed.")
    if waiting := run.count("waiting"):
        found.append(f"{waiting} of {total} tasks have not been computed yet; run the study again to continue.")
    found += [
        f"The figure {figure.name!r} could not be drawn: {figure.problem}" for figure in figures if figure.problem
    ]
    return found + mixtures(plan, store)
