"""From what the user typed to a study, its plan and its store."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from weightscape.errors import Problem, SpecificationError, did_you_mean

if TYPE_CHECKING:
    from weightscape.studies.plan import Plan
    from weightscape.studies.specification import Study
    from weightscape.studies.workspace.store import Store

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_KNOWN_FILES = (".yaml", ".yml")


@dataclass(frozen=True)
class Opened:
    """A planned study and the workspace it was planned against."""

    plan: Plan
    store: Store
    data_root: Path | None


def open_store(workspace: Path | None) -> Store:
    """Return the store of a workspace folder, which need not exist yet."""
    from weightscape.studies.workspace.store import Store, workspace_folder

    return Store(workspace_folder(workspace))


def open_study(
    text: str,
    *,
    overrides: Sequence[str] | None = None,
    workspace: Path | None = None,
    data_dir: Path | None = None,
    prefer: Literal["bundled", "workspace"] = "workspace",
) -> Opened:
    """Find, read and plan a study, its figures included.

    Args:
        text: A YAML file, the name or number of a bundled study, or the name of a study of the workspace.
        overrides: Options as ``--set`` takes them.
        workspace: Folder of results.
        data_dir: Folder of data sets.
        prefer: Which study a name means that both the package and the workspace know. Commands that run take the
            bundled one; commands that look take the workspace's, with the options it was run with.

    Raises:
        SpecificationError: With every mistake in the study, its figures and the options.
    """
    store = open_store(workspace)
    given = list(overrides or ())
    try:
        study = _find_study(text, given, store, prefer)
    except SpecificationError as error:
        wrong = [problem for problem in error.problems if problem.where.startswith("--set ")]
        if not wrong:
            raise
        flags = {problem.where for problem in wrong}
        study = _find_study(text, [item for item in given if f"--set {item}" not in flags], store, prefer)
        raise SpecificationError([*wrong, *_mistakes(study, store, data_dir)]) from error
    return Opened(plan_with_figures(study, store, data_dir), store, data_dir)


def _mistakes(study: Study, store: Store, data_dir: Path | None) -> tuple[Problem, ...]:
    try:
        plan_with_figures(study, store, data_dir)
    except SpecificationError as error:
        return error.problems
    return ()


def plan_with_figures(study: Study, store: Store, data_dir: Path | None) -> Plan:
    """Plan a study and check its figures.

    Raises:
        SpecificationError: With the mistakes of both.
    """
    from weightscape.report.study import figure_problems
    from weightscape.studies.planning import plan_study
    from weightscape.studies.sources import Sources

    let_python_find(study.folder)
    try:
        plan = plan_study(study, sources=Sources(store), data_root=data_dir)
    except SpecificationError as error:
        raise SpecificationError([*error.problems, *figure_problems(study)]) from error
    problems = figure_problems(study)
    if problems:
        raise SpecificationError(problems)
    return plan


def let_python_find(folder: Path | None) -> None:
    """Let user code be imported from the study's folder and from the current one, as a script's neighbours are."""
    for place in (str(folder) if folder else None, str(Path.cwd())):
        if place and place not in sys.path:
            sys.path.insert(0, place)


def _find_study(text: str, overrides: list[str], store: Store, prefer: str) -> Study:
    from weightscape.recipes import find_recipe, recipe_names
    from weightscape.studies.specification import load_study

    path = Path(text).expanduser()
    if path.is_file():
        return load_study(path, overrides)
    ran = store.study_names()
    if text in ran and prefer == "workspace":
        return _recorded(text, overrides, store)
    bundled = recipe_names()
    if text in bundled or (text.isdigit() and 0 < int(text) <= len(bundled)):
        return load_study(find_recipe(text), overrides)
    if text in ran:
        return _recorded(text, overrides, store)
    raise SpecificationError([_unknown(text, path, [*bundled, *ran], store)])


def _unknown(text: str, path: Path, names: list[str], store: Store) -> Problem:
    if path.suffix in _KNOWN_FILES:
        return Problem("STUDY", "a file that exists", repr(text), f"Looked for it from {Path.cwd()}.")
    beside = [f"{text}{suffix}" for suffix in _KNOWN_FILES if path.with_name(f"{path.name}{suffix}").is_file()]
    expected = f"a YAML file, a bundled study (weightscape recipes) or a study in {store.folder}"
    remedy = f"Did you mean the file {beside[0]!r}?" if beside else did_you_mean(text, names)
    return Problem("STUDY", expected, repr(text), remedy)


def _recorded(name: str, overrides: list[str], store: Store) -> Study:
    """Return a study as it was last planned in the workspace."""
    from weightscape.studies.document import Document
    from weightscape.studies.specification import apply_overrides, validate_study

    path = store.study_folder(name) / "plan.json"
    recorded = store.study_plan(name)
    document = Document(recorded["document"], {(): str(path)})
    apply_overrides(document, overrides)
    return validate_study(document, Path(recorded["folder"]) if recorded["folder"] else None)


def check_device(text: str) -> str:
    """Return the name of a device if it can be one; whether it is there is not looked up.

    Raises:
        SpecificationError: If it cannot.
    """
    if not _DEVICE.fullmatch(text):
        raise SpecificationError([Problem("--device", "auto, cpu, cuda, cuda:N or mps", repr(text))])
    return text


def pick_device(text: str) -> str:
    """Return the device to compute on; whether one that is named is there is not looked up.

    Raises:
        SpecificationError: If it is no name of a device.
    """
    from weightscape.studies.executors.workplaces import visible_gpus

    if check_device(text) != "auto":
        return text
    return "cuda" if visible_gpus() else "cpu"
