"""From references to the combinations of upstream rows that a stage computes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from weightscape.errors import Problem, SpecificationError, did_you_mean
from weightscape.operation import Operation, find_operation
from weightscape.step import Step
from weightscape.studies.binding import Bound, bind
from weightscape.studies.document import Location
from weightscape.studies.plan import Row, StagePlan
from weightscape.studies.problems import Problems
from weightscape.studies.reference import Reference
from weightscape.studies.relation import join, matching
from weightscape.studies.sources import Sources
from weightscape.studies.specification import Stage, Study

_LISTED = 8


class Member(NamedTuple):
    """One upstream row and the output of it that is taken."""

    settings: Mapping[str, Any]
    bound: Bound


Combination: TypeAlias = dict[str, list[Member]]
"""Members by parameter: one each, or many for a parameter that takes a population."""


class InputResolver:
    """Finds what fills the parameters of a stage.

    Args:
        study: The study.
        planned: The stages planned so far.
        sources: Rows outside the study.
        problems: Collects mistakes.
    """

    def __init__(self, study: Study, planned: Mapping[str, StagePlan], sources: Sources, problems: Problems) -> None:
        self._study = study
        self._planned = planned
        self._sources = sources
        self._problems = problems
        self._incomplete = False

    def combinations(self, name: str, stage: Stage, operation: Operation) -> list[Combination]:
        """Return what the stage computes on: one combination for an operation without inputs; none after a mistake."""
        before, self._incomplete = len(self._problems), False
        members = {
            parameter: self._members(operation, parameter, references)
            for parameter, references in self._by_parameter(name, stage, operation).items()
        }
        if len(self._problems) > before or self._incomplete:
            return []
        joined = self._joined(name, stage, members)
        populations = [parameter for parameter in members if operation.inputs[parameter].artefact == "Population"]
        if stage.group is not None and not populations:
            self._problems.add(("stages", name, "group"), "an operation that takes a population", repr(stage.run))
        return self._grouped(name, stage.group or [], joined, populations) if populations else joined

    def _by_parameter(
        self, name: str, stage: Stage, operation: Operation
    ) -> dict[str, list[tuple[str, Location, bool]]]:
        base: Location = ("stages", name, "from")
        required = [parameter.name for parameter in operation.inputs.values() if not parameter.optional]
        given, places = stage.origin, dict.fromkeys(operation.inputs, base)
        if isinstance(given, dict):
            places = {parameter: (*base, parameter) for parameter in given}
        else:
            only = required or list(operation.inputs)
            if len(only) != 1:
                expected = f"references by parameter ({', '.join(operation.inputs) or 'none'})"
                self._problems.add(base, expected, repr(given), "Write 'from: {parameter: reference}'.")
                return {}
            given = {only[0]: given}
        for missing in set(required) - set(given):
            self._problems.add(base, f"a reference for the parameter {missing!r} of {operation.name!r}", "none")
        for unknown in set(given) - set(operation.inputs):
            remedy = did_you_mean(unknown, operation.inputs) or f"{operation.name!r} takes no inputs."
            self._problems.add((*base, unknown), f"a parameter of {operation.name!r}", repr(unknown), remedy)
        return {
            parameter: [(value, places[parameter], False)]
            if isinstance(value, str)
            else [(text, (*places[parameter], index), True) for index, text in enumerate(value)]
            for parameter, value in given.items()
            if parameter in operation.inputs
        }

    def _members(
        self, operation: Operation, parameter: str, references: list[tuple[str, Location, bool]]
    ) -> list[Member]:
        members: list[Member] = []
        for text, location, in_union in references:
            where = self._problems.where(location)
            try:
                reference = Reference.parse(text, where)
                members += self._rows(operation, parameter, reference, where, in_union=in_union)
            except SpecificationError as error:
                self._incomplete = True
                self._problems.extend(error.problems)
        return members

    def _rows(
        self, operation: Operation, parameter: str, reference: Reference, where: str, *, in_union: bool
    ) -> list[Member]:
        table = self._table(reference, where)
        field = bind(operation.inputs[parameter], reference, table.outputs, where)
        if isinstance(field, Problem):
            raise SpecificationError([field])
        try:
            kept = matching([dict(row.settings) for row in table.rows], reference.where, "row")
        except ValueError as error:
            expected = "a condition on the settings of the rows"
            raise SpecificationError([Problem(where, expected, repr(reference.where), f"{error}.")]) from error
        self._check_step(reference, [table.rows[position] for position in kept], where)
        extra = {"stage": reference.name} if in_union else {}
        return [
            Member({**table.made(row, field), **extra}, Bound(row.key, field, reference.step, row.path))
            for row in (table.rows[position] for position in kept)
        ]

    def _check_step(self, reference: Reference, rows: Sequence[Row], where: str) -> None:
        """Refuse a step of which the settings of a stage say already that it will not be there.

        Raises:
            SpecificationError: If a row will not keep it.
        """
        step = reference.step
        if not step or not step.endswith("ep") or reference.study not in {None, self._study.name}:
            return
        stage = self._study.settings.stages.get(reference.name)
        keeps = None if stage is None or reference.kind != "stage" else find_operation(stage.run).keeps
        for steps in (keeps(row.settings) for row in rows) if keeps else ():
            if steps is not None and str(Step.parse(step)) not in steps:
                more = ", ..." if len(steps) > _LISTED else ""
                expected = f"a step that is kept: {', '.join(list(steps)[:_LISTED])}{more}"
                remedy = f"Add it to 'keep' of {reference.name!r}, or train for more epochs."
                raise SpecificationError([Problem(where, expected, repr(step), remedy)])

    def _table(self, reference: Reference, where: str) -> StagePlan:
        if reference.kind != "stage" or reference.study not in {None, self._study.name}:
            return self._sources.table(reference, where)
        if reference.name in self._planned:
            return self._planned[reference.name]
        stages = self._study.settings.stages
        # A stage that is there but was not planned has mistakes of its own, which are reported already.
        known = reference.name in stages
        problem = Problem(where, "the name of a stage", repr(reference.name), did_you_mean(reference.name, stages))
        if len(stages) == 1:
            expected = "'study/stage', six digits or more of a key, or a path of weights"
            problem = Problem(where, expected, repr(reference.name), "The study has no other stage.")
        raise SpecificationError([] if known else [problem])

    def _joined(self, name: str, stage: Stage, members: Mapping[str, Sequence[Member]]) -> list[Combination]:
        relations = {parameter: [dict(member.settings) for member in rows] for parameter, rows in members.items()}
        place: Location = ("stages", name, "where")
        if not relations and stage.where is not None:
            self._problems.add(place, "inputs to join", "none", "Remove 'where', or add 'from'.")
            return []
        try:
            positions = join(relations, stage.where)
        except ValueError as error:
            self._problems.add(place, "a condition on the settings of the inputs", repr(stage.where), f"{error}.")
            return []
        if not positions:
            sizes = ", ".join(f"{len(rows)} rows of {parameter!r}" for parameter, rows in relations.items())
            self._problems.add(place, "a join with at least one row", f"none, from {sizes}", "Check the condition.")
        return [
            {
                parameter: [members[parameter][position]]
                for parameter, position in zip(members, combination, strict=True)
            }
            for combination in positions
        ]

    def _grouped(
        self, name: str, columns: list[str], joined: list[Combination], populations: list[str]
    ) -> list[Combination]:
        groups: dict[str, Combination] = {}
        for combination in joined:
            label = repr([self._column(name, combination, column) for column in columns])
            group = groups.setdefault(label, {parameter: [] for parameter in combination})
            for parameter, members in combination.items():
                group[parameter] += [member for member in members if member not in group[parameter]]
        place: Location = ("stages", name, "group")
        for group in groups.values():
            for parameter, members in group.items():
                if parameter not in populations and len(members) > 1:
                    remedy = f"Group by columns of {parameter!r} as well."
                    self._problems.add(place, f"one row of {parameter!r} in each group", f"{len(members)} rows", remedy)
        return list(groups.values())

    def _column(self, name: str, combination: Combination, column: str) -> Any:
        value: Any = {parameter: members[0].settings for parameter, members in combination.items()}
        if len(value) == 1:
            value = {**next(iter(value.values())), **value}
        for part in column.split("."):
            if not isinstance(value, Mapping) or part not in value:
                known = list(value) if isinstance(value, Mapping) else []
                remedy = did_you_mean(part, known)
                self._problems.add(("stages", name, "group"), "a column of the inputs", repr(column), remedy)
                return None
            value = value[part]
        return value
