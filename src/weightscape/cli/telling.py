"""What the verbs on a study print: plans, runs, figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightscape.cli.opening import Opened
    from weightscape.report.study import StudyFigure
    from weightscape.studies.executors.execution import Run


def report_path(opened: Opened) -> str:
    """Return where the report of a study goes."""
    return str(opened.store.study_folder(opened.plan.study.name) / "report.html")


def print_plan(opened: Opened, *, as_json: bool) -> None:
    """Print what a plan amounts to, how much of it is there, and what goes on from a shorter run."""
    from weightscape.cli.printing import print_json, print_rows, print_wrapped, styled
    from weightscape.cli.rows import known_run, stage_counts
    from weightscape.studies.executors.shorter import continued
    from weightscape.studies.tables import describe

    known = known_run(opened.plan, opened.store)
    cached = known.count("cached")
    missing = (task for key, task in opened.plan.tasks.items() if known.outcomes[key].status != "cached")
    shorter = continued(missing, opened.store)
    if as_json:
        statuses = {key: outcome.status for key, outcome in known.outcomes.items()}
        facts = {"tasks": statuses, "continues": shorter, "workspace": str(opened.store.folder)}
        print_json(describe(opened.plan) | facts)
        return
    print(styled(opened.plan.study.name, "bold"))
    if opened.plan.study.settings.about:
        print_wrapped(opened.plan.study.settings.about, "")
    stages = [
        {
            "stage": row["stage"],
            "operation": row["operation"],
            "rows": row["rows"],
            "done": row["done"],
            "to compute": row["rows"] - row["done"],
        }
        for row in stage_counts(opened.plan, known)
    ]
    print_rows(stages, fold=False)
    total = len(known.outcomes)
    tasks = f"{total} different task{'s' * (total != 1)}"
    print(f"{tasks}: {cached} done, {total - cached} to compute. Workspace: {opened.store.folder}")
    if shorter:
        count = f"{len(shorter)} of them continue{'s' * (len(shorter) == 1)}"
        print(f"{count} a shorter run that is there already.")


def print_run(opened: Opened, done: Run, figures: list[StudyFigure], *, as_json: bool) -> None:
    """Print what became of a run, and where its tables, figures and report are."""
    from weightscape.cli.printing import print_facts, print_json
    from weightscape.cli.running import counts, failures, sentence

    folder = opened.store.study_folder(opened.plan.study.name)
    tables = sorted(str(path) for path in folder.glob("*.parquet"))
    page = None if done.interrupted else report_path(opened)
    if as_json:
        found: dict[str, Any] = {"study": opened.plan.study.name, "tasks": counts(done), "tables": tables}
        drawn = [figure_facts(item) for item in figures]
        print_json(found | {"figures": drawn, "report": page, "failures": failures(opened, done)})
        return
    print(f"{opened.plan.study.name}: {sentence(done)}")
    if page is not None:
        print_figures(figures)
        print_facts({"report": page, "tables": f"weightscape table {opened.plan.study.name} STAGE"})


def print_figures(figures: list[StudyFigure]) -> None:
    """Print where figures are, and which could not be drawn."""
    from weightscape.cli.printing import print_facts, warn

    for item in figures:
        if item.problem:
            warn(f"the figure {item.name!r} could not be drawn: {item.problem}")
        else:
            print_facts({"figure": str(item.pdf)})


def figure_facts(item: StudyFigure) -> dict[str, Any]:
    """Return what a machine wants to know about a figure."""
    files = {} if item.problem else {path.suffix[1:]: str(path) for path in item.files}
    return {"name": item.name, "files": files, "problem": item.problem, "drawn": item.fresh}
