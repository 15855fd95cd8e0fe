"""The figures of a study: checked when it is planned, drawn from its tables when these have changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import weightscape.figures
from weightscape.errors import Problem, SpecificationError, WeightscapeError, did_you_mean
from weightscape.figures import registry
from weightscape.report.stamps import code_digest, file_digest, is_current, write_stamp
from weightscape.source import source_hash
from weightscape.studies.document import Location
from weightscape.studies.keys import digest
from weightscape.studies.plan import Plan
from weightscape.studies.planning import figure_references
from weightscape.studies.reference import Reference
from weightscape.studies.specification import FigurePlan, Study
from weightscape.studies.workspace.store import Store

if TYPE_CHECKING:
    import pandas

# Figures that can say which rows are missing from a detail table take the stage's own table under this name.
_ROWS = "rows"


@dataclass(frozen=True)
class StudyFigure:
    """A figure of a study on disk.

    Attributes:
        name: Its name in the study.
        summary: What it shows.
        pdf: The vector graphic.
        png: The same as pixels.
        csv: The numbers drawn.
        problem: Why it could not be drawn; empty when it was.
        fresh: Whether it was drawn now, not before.
    """

    name: str
    summary: str
    pdf: Path
    png: Path
    csv: Path
    problem: str = ""
    fresh: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """The three files."""
        return self.pdf, self.png, self.csv


class _Source(NamedTuple):
    """A table of a figure: its file, and the keys of the rows that are taken (None for all)."""

    file: Path
    keys: frozenset[str] | None


def figure_problems(study: Study) -> list[Problem]:
    """Return what is wrong with the names, tables and options of a study's figures."""
    return [problem for name, figure in study.settings.figures.items() for problem in _problems(study, name, figure)]


def draw_figures(
    plan: Plan, store: Store, *, names: Collection[str] | None = None, again: bool = False
) -> list[StudyFigure]:
    """Draw the figures of a study from its tables in the workspace, those that would change.

    A figure that cannot be drawn is returned with the reason; the others are drawn all the same.

    Args:
        plan: The study, whose tables have been written.
        store: The workspace.
        names: The figures to draw; all by default.
        again: Whether to draw figures too whose tables and settings are as before.
    """
    chosen = plan.study.settings.figures if names is None else names
    return [_drawn(name, plan, store, again=again) for name in chosen]


def _problems(study: Study, name: str, figure: FigurePlan) -> list[Problem]:
    where = study.document.where
    place: Location = ("figures", name)
    try:
        entry = registry.find(figure.draw)
    except WeightscapeError as error:
        known = registry.names()
        remedy = did_you_mean(figure.draw, known) if "." not in figure.draw else str(error)
        return [Problem(where((*place, "draw")), "the name of a figure", repr(figure.draw), remedy)]
    try:
        entry.bind(_texts(name, figure), figure.settings)
    except SpecificationError as error:
        found = [
            Problem(where((*place, *problem.where.split("."))), problem.expected, problem.received, problem.remedy)
            for problem in error.problems
        ]
    else:
        found = []
    return found + _unpublished(figure, where((*place, "with", "published")))


def _unpublished(figure: FigurePlan, where: str) -> list[Problem]:
    from weightscape.figures.literature import published_names

    name, known = figure.settings.get("published"), published_names()
    if "." in figure.draw or not isinstance(name, str) or name in known:
        return []
    return [Problem(where, "the name of published curves", repr(name), did_you_mean(name, known))]


def _texts(name: str, figure: FigurePlan) -> dict[str, str]:
    return {
        location[-1] if len(location) == 4 else "table": text  # type: ignore[misc]
        for location, text in figure_references(name, figure)
    }


def _drawn(name: str, plan: Plan, store: Store, *, again: bool) -> StudyFigure:
    figure = plan.study.settings.figures[name]
    folder = store.study_folder(plan.study.name) / "figures"
    files = (folder / f"{name}.pdf", folder / f"{name}.png", folder / f"{name}.csv")
    stamp = folder / f"{name}.json"
    summary = registry.find(figure.draw).summary
    sources = _sources(name, figure, plan, store)
    source = _digest(figure, sources)
    made = StudyFigure(name, summary, *files)
    if not again and is_current(stamp, source, files):
        return made
    from weightscape.figures.drawing import draw, save

    try:
        tables = {parameter: _read(table) for parameter, table in sources.items()}
        if _is_unfinished(tables["table"]):
            return replace(made, problem="nothing to draw: no row of its stage is finished.")
        save(draw(figure.draw, tables, figure.settings), folder, name)
    except Exception as error:  # a figure may be the user's own code; the others are drawn all the same
        text = str(error) if isinstance(error, WeightscapeError) else f"{type(error).__name__}: {error}"
        return replace(made, problem=text)
    write_stamp(stamp, source, files)
    return replace(made, fresh=True)


def _sources(name: str, figure: FigurePlan, plan: Plan, store: Store) -> dict[str, _Source]:
    folder = store.study_folder(plan.study.name)
    found: dict[str, _Source] = {}
    for parameter, text in _texts(name, figure).items():
        reference = Reference.parse(text)
        stem = reference.name if reference.field is None else f"{reference.name}.{reference.field}"
        keys = _matching_keys(plan, reference)
        found[parameter] = _Source(folder / f"{stem}.parquet", keys)
        takes_rows = _ROWS in registry.find(figure.draw).tables
        if parameter == "table" and reference.field is not None and takes_rows:
            found.setdefault(_ROWS, _Source(folder / f"{reference.name}.parquet", keys))
    return found


def _matching_keys(plan: Plan, reference: Reference) -> frozenset[str] | None:
    if reference.where is None:
        return None
    from weightscape.studies.relation import matching

    rows = plan.stages[reference.name].rows
    try:
        kept = matching([dict(row.settings) for row in rows], reference.where, "row")
    except ValueError as error:
        text = f"{reference.name}?{reference.where}"
        problem = Problem("figures", "a condition on the settings of the rows", repr(text), f"{error}.")
        raise SpecificationError([problem]) from error
    return frozenset(rows[position].key for position in kept)


def _read(source: _Source) -> pandas.DataFrame:
    from weightscape.studies.workspace.artefacts import load_table

    table: pandas.DataFrame = load_table(source.file)
    return table if source.keys is None else table[table["key"].isin(source.keys)].reset_index(drop=True)


def _is_unfinished(table: pandas.DataFrame) -> bool:
    """Return whether no row of a table, or of the stage whose table it is, has a result."""
    from weightscape.figures.numbers import DONE

    return table.empty or ("status" in table.columns and not table["status"].isin(DONE).any())


def _digest(figure: FigurePlan, sources: Mapping[str, _Source]) -> str:
    tables: dict[str, Any] = {
        parameter: [source.file.name, file_digest(source.file), sorted(source.keys or ())]
        for parameter, source in sources.items()
    }
    code = source_hash(figure.draw) if "." in figure.draw else code_digest(Path(weightscape.figures.__path__[0]))
    return digest({"draw": figure.draw, "settings": figure.settings, "tables": tables, "code": code})
