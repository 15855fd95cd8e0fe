"""The study language: what a YAML file may say, checked as a whole before anything starts."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weightscape.errors import Problem, SpecificationError, did_you_mean
from weightscape.studies.document import Document, merge, read_file, read_value
from weightscape.studies.explanation import explain
from weightscape.studies.reference import is_key

_NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Stage(_Part):
    """One operation over the rows of other stages, or over nothing.

    Attributes:
        run: Name or dotted path of the operation.
        origin: ``from`` in YAML: a reference, or references by parameter; a list is a union with a column ``stage``.
        where: SQL condition that joins the rows of the inputs.
        settings: ``with`` in YAML: options of the operation.
        grid: Values by option (dotted for nested ones); one row for each combination.
        group: Columns whose equal values gather rows for a parameter that takes a population.
    """

    run: str
    origin: str | list[str] | dict[str, str | list[str]] = Field(default_factory=dict, alias="from")
    where: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict, alias="with")
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    group: list[str] | None = None


class FigurePlan(_Part):
    """A figure of the study: its function, its tables and its options."""

    draw: str
    origin: str | dict[str, str] = Field(alias="from")
    settings: dict[str, Any] = Field(default_factory=dict, alias="with")


class StudySettings(_Part):
    """The whole YAML file."""

    study: str = Field(pattern=_NAME)
    about: str = ""
    stages: dict[str, Stage] = Field(min_length=1)
    figures: dict[str, FigurePlan] = Field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A validated study with the places of its parts.

    Attributes:
        settings: What it says.
        document: Where it says it.
        folder: Folder that user code of the study is imported from; None for a study that is not a file.
    """

    settings: StudySettings
    document: Document
    folder: Path | None = None

    @property
    def name(self) -> str:
        """The name of the study, which is also its folder in the workspace."""
        return self.settings.study


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Read and validate a study file, together with the study it extends.

    Args:
        path: A YAML file.
        overrides: Options of the form ``STAGE.OPTION=VALUE``, as ``--set`` takes them.

    Raises:
        SpecificationError: With every mistake found in the form of the study.
    """
    path = Path(path)
    document = _extended(read_file(path), path, seen=())
    apply_overrides(document, overrides)
    return validate_study(document, path.resolve().parent)


def validate_study(document: Document, folder: Path | None = None) -> Study:
    """Check the form of a study.

    Raises:
        SpecificationError: With every mistake found.
    """
    if not isinstance(document.data, dict):
        raise SpecificationError(
            [Problem(document.where(()), "a mapping with 'study' and 'stages'", repr(document.data))]
        )
    try:
        settings = StudySettings.model_validate(document.data)
    except ValidationError as error:
        raise SpecificationError(explain(error, StudySettings, document)) from error
    problems = [
        Problem(document.where((part, name)), "a name of letters, digits, '_' and '-'", repr(name))
        for part, names in (("stages", settings.stages), ("figures", settings.figures))
        for name in names
        if not re.fullmatch(_NAME, name)
    ]
    problems += [
        Problem(
            document.where(("stages", name)), "a name that no key of a result begins with", repr(name), "Rename it."
        )
        for name in settings.stages
        if is_key(name)
    ]
    if problems:
        raise SpecificationError(problems)
    return Study(settings, document, folder)


def _extended(document: Document, path: Path, seen: tuple[Path, ...]) -> Document:
    if not (isinstance(document.data, dict) and "extends" in document.data):
        return document
    if path.resolve() in seen:
        where = document.where(("extends",))
        raise SpecificationError(
            [Problem(where, "a study that does not extend itself", repr(document.data["extends"]))]
        )
    from weightscape.recipes import find_recipe

    name = str(document.data["extends"])
    beside = path.parent / name
    base_path = beside if beside.is_file() else find_recipe(name, document.where(("extends",)))
    base = _extended(read_file(base_path), base_path, (*seen, path.resolve()))
    merged = merge(base, document)
    del merged.data["extends"]
    return merged


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Apply ``STAGE.OPTION=VALUE`` to a document, in place.

    The value is YAML. It replaces the option in ``with``; a list replaces the values of an option that is in ``grid``.

    Raises:
        SpecificationError: If an override is not of this form or names an unknown stage.
    """
    problems = []
    document.data = copy.deepcopy(document.data)
    for override in overrides:
        problem = _override(document, override)
        if problem:
            problems.append(problem)
    if problems:
        raise SpecificationError(problems)


def _override(document: Document, override: str) -> Problem | None:
    flag = f"--set {override}"
    name, equals, text = override.partition("=")
    stage_name, dot, option = name.strip().partition(".")
    if not (equals and dot and option):
        return Problem(flag, "STAGE.OPTION=VALUE", repr(override), "For example: --set trained.recipe.epochs=3")
    stages = document.data.get("stages") if isinstance(document.data, dict) else None
    if not isinstance(stages, dict) or not isinstance(stages.get(stage_name), dict):
        return Problem(
            flag, "the name of a stage before the first dot", repr(stage_name), did_you_mean(stage_name, stages or {})
        )
    stage, value = stages[stage_name], read_value(text)
    grid = stage.get("grid") or {}
    if option in grid:
        grid[option] = value if isinstance(value, list) else [value]
        document.places[("stages", stage_name, "grid", option)] = flag
    else:
        assign(stage.setdefault("with", {}), option, value)
        parts = option.split(".")
        for length in range(1, len(parts)):
            document.places.setdefault(("stages", stage_name, "with", *parts[:length]), flag)
        document.places["stages", stage_name, "with", *parts] = flag
    return None


def assign(settings: dict[str, Any], path: str, value: Any) -> None:
    """Set a nested option by its dotted path, in place; ``optimizer: sgd`` on the way becomes ``{name: sgd}``."""
    *parents, last = path.split(".")
    for parent in parents:
        inner = settings.get(parent)
        if isinstance(inner, str):
            inner = {"name": inner}
        settings[parent] = dict(inner) if isinstance(inner, dict) else {}
        settings = settings[parent]
    settings[last] = value
