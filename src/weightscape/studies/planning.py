"""From a study to rows to tasks, without computing anything.

A stage is a table: the rows of its inputs joined by ``where``, times its grid. A row is a task, and equal tasks are one
task, across stages and studies. All mistakes of all stages are collected before anything starts.
"""

from __future__ import annotations

import difflib
import graphlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from weightscape.errors import SpecificationError, WeightscapeError, did_you_mean
from weightscape.expansion import Expanded, Expansion, SourcesGone
from weightscape.operation import Operation, find_operation, operation_names
from weightscape.studies.binding import identities
from weightscape.studies.document import Location
from weightscape.studies.inputs import Combination, InputResolver
from weightscape.studies.keys import content_of, task_key
from weightscape.studies.options import Configuration, configurations, inherited, validated
from weightscape.studies.plan import Plan, Row, StagePlan, Task
from weightscape.studies.problems import Problems
from weightscape.studies.recorded import recorded_rows
from weightscape.studies.reference import Reference
from weightscape.studies.relation import MOST_ROWS, matching
from weightscape.studies.sources import Sources
from weightscape.studies.specification import FigurePlan, Stage, Study

_LOG = logging.getLogger(__name__)


def plan_study(study: Study, *, sources: Sources | None = None, data_root: Path | None = None) -> Plan:
    """Plan a study against what a workspace already knows.

    Args:
        study: The study.
        sources: Finds rows outside the study: other studies, keys, files.
        data_root: Folder of data sets, for their fingerprints.

    Raises:
        SpecificationError: With every mistake found in any stage or figure.
    """
    return _Planner(study, sources or Sources(), data_root).plan()


class _Planner:
    def __init__(self, study: Study, sources: Sources, data_root: Path | None) -> None:
        self._study = study
        self._data_root = data_root
        self._problems = Problems(study.document)
        self._stages: dict[str, StagePlan] = {}
        self._tasks: dict[str, Task] = {}
        self._fingerprints: dict[str, str | None] = {}
        self._sources = sources
        self._inputs = InputResolver(study, self._stages, sources, self._problems)

    def plan(self) -> Plan:
        for name in _ordered(self._study, self._problems):
            self._plan_stage(name, self._study.settings.stages[name])
        for name, figure in self._study.settings.figures.items():
            self._check_figure(name, figure)
        self._problems.raise_if_any()
        return Plan(self._study, self._stages, self._tasks)

    def _plan_stage(self, name: str, stage: Stage) -> None:
        operation = self._operation(name, stage)
        if operation is None:
            return
        before = len(self._problems)
        combinations = self._inputs.combinations(name, stage, operation)
        points = list(islice(configurations(name, stage, self._problems), MOST_ROWS + 1))
        if len(combinations) * len(points) > MOST_ROWS:
            remedy = "Shorten the grid, or join fewer rows with 'where'."
            self._problems.add(("stages", name), f"at most {MOST_ROWS:,} rows", "more", remedy)
        if len(self._problems) > before or not combinations:
            self._check_options(name, operation, points)
            return
        rows = [
            row
            for combination in combinations
            for point in points
            for row in self._plan_rows(name, operation, combination, point)
        ]
        if len(self._problems) == before:
            self._stages[name] = StagePlan(tuple(rows), operation.outputs, operation)

    def _plan_rows(
        self, name: str, operation: Operation, combination: Combination, point: Configuration
    ) -> Iterator[Row]:
        options = {**inherited(name, operation, combination, point.options, self._problems), **point.options}
        settings = validated(name, operation, options, point.places, self._problems)
        if settings is None:
            return
        if operation.expansion is None:
            yield self._plan_row(name, operation, combination, settings, Expanded({}), point)
            return
        for expanded in self._expanded(name, operation, operation.expansion, settings):
            own = validated(name, operation, {**options, **expanded.options}, point.places, self._problems)
            if own is not None:
                yield self._plan_row(name, operation, combination, own, expanded, point)

    def _expanded(self, name: str, operation: Operation, expansion: Expansion, settings: BaseModel) -> list[Expanded]:
        try:
            return expansion.rows(settings)
        except SpecificationError as error:
            gone = isinstance(error, SourcesGone)
            known = recorded_rows(self._study, name, operation, settings, self._sources.store) if gone else []
            if known:
                text = "%s: the results from before are used, because %s"
                _LOG.warning(text, name, "; ".join(problem.remedy or str(problem) for problem in error.problems))
                return known
            place: Location = ("stages", name, "with")
            for problem in error.problems:
                where = (*place, problem.where) if problem.where else place
                self._problems.add(where, problem.expected, problem.received, problem.remedy)
        return []

    def _plan_row(
        self,
        name: str,
        operation: Operation,
        combination: Combination,
        settings: BaseModel,
        expanded: Expanded,
        point: Configuration,
    ) -> Row:
        content = {**self._content(name, operation, settings), **expanded.content}
        many = {name for name, parameter in operation.inputs.items() if parameter.artefact == "Population"}
        inputs = {
            parameter: tuple(member.bound for member in members) if parameter in many else members[0].bound
            for parameter, members in combination.items()
        }
        key = task_key(operation, settings, identities(inputs), content)
        self._tasks.setdefault(key, Task(key, operation, settings, inputs, content))
        columns = {
            parameter: shared([member.settings for member in members]) for parameter, members in combination.items()
        }
        located = set(operation.expansion.located) if operation.expansion else None
        said = {**settings.model_dump(mode="json", exclude=located), **expanded.columns, **columns}
        return Row(said, key, places=point.places)

    def _content(self, name: str, operation: Operation, settings: BaseModel) -> dict[str, str]:
        try:
            return content_of(operation, settings, self._data_root, known=self._fingerprints)
        except WeightscapeError as error:
            self._problems.add(
                ("stages", name, "with"), "data and code that can be read", "what is missing or damaged", str(error)
            )
            return {}

    def _operation(self, name: str, stage: Stage) -> Operation | None:
        try:
            return find_operation(stage.run)
        except SpecificationError as error:
            problem = error.problems[0]
            self._problems.add(("stages", name, "run"), problem.expected, problem.received, problem.remedy)
        close = difflib.get_close_matches(stage.run, operation_names(), n=1)
        if close:
            self._check_options(name, find_operation(close[0]), list(configurations(name, stage, self._problems)))
        return None

    def _check_options(self, name: str, operation: Operation, points: Sequence[Configuration]) -> None:
        # The stage cannot be planned; the mistakes in its options are reported all the same.
        for options, places in points[:MOST_ROWS]:
            validated(name, operation, options, places, self._problems, partly=bool(operation.inputs))

    def _check_figure(self, name: str, figure: FigurePlan) -> None:
        for location, text in figure_references(name, figure):
            try:
                reference = Reference.parse(text, self._problems.where(location))
            except SpecificationError as error:
                self._problems.extend(error.problems)
                continue
            stages = self._study.settings.stages
            if reference.kind != "stage" or reference.study or reference.name not in stages:
                remedy = did_you_mean(reference.name, stages)
                self._problems.add(location, "a stage of this study", repr(text), remedy)
            elif reference.step:
                self._problems.add(location, "a table, which has no steps", repr(text), f"Remove '@{reference.step}'.")
            elif reference.field and reference.name in self._stages:
                outputs = self._stages[reference.name].outputs
                tables = [field for field, artefact in outputs.items() if artefact == "Table"]
                if reference.field not in tables:
                    expected = f"a detail table of {reference.name!r}"
                    self._problems.add(location, expected, repr(reference.field), did_you_mean(reference.field, tables))
            self._check_condition(location, reference)

    def _check_condition(self, location: Location, reference: Reference) -> None:
        if reference.where is None or reference.kind != "stage" or reference.name not in self._stages:
            return
        rows = [dict(row.settings) for row in self._stages[reference.name].rows]
        expected, received = "a condition that holds for rows of the stage", repr(reference.where)
        try:
            if not matching(rows, reference.where, "row"):
                self._problems.add(location, expected, received, f"None of {len(rows)} rows fulfils it.")
        except ValueError as error:
            self._problems.add(location, expected, received, f"{error}.")


def figure_references(name: str, figure: FigurePlan) -> list[tuple[Location, str]]:
    """Return the tables of a figure as written, each with its location; a single one fills the parameter ``table``."""
    if isinstance(figure.origin, str):
        return [(("figures", name, "from"), figure.origin)]
    return [(("figures", name, "from", parameter), text) for parameter, text in figure.origin.items()]


def _ordered(study: Study, problems: Problems) -> list[str]:
    stages = study.settings.stages
    graph = {name: _dependencies(study, stage) for name, stage in stages.items()}
    try:
        return [name for name in graphlib.TopologicalSorter(graph).static_order() if name in stages]
    except graphlib.CycleError as error:
        cycle = error.args[1]
        problems.add(("stages", cycle[0], "from"), "stages that do not depend on themselves", " -> ".join(cycle))
        problems.raise_if_any()
        return []


def _dependencies(study: Study, stage: Stage) -> list[str]:
    values = stage.origin.values() if isinstance(stage.origin, dict) else [stage.origin]
    texts = [text for value in values for text in ([value] if isinstance(value, str) else value)]
    found = []
    for text in texts:
        try:
            reference = Reference.parse(text)
        except SpecificationError:
            continue  # reported with its place when the stage is planned
        if reference.kind == "stage" and reference.study in {None, study.name}:
            found.append(reference.name)
    return found


def shared(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings in which all rows agree, and their number as ``members`` when there are several."""
    first = dict(rows[0])
    if len(rows) == 1:
        return first
    agreed = {name: value for name, value in first.items() if all(row.get(name) == value for row in rows)}
    return {**agreed, "members": len(rows)}
