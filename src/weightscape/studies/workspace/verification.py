"""Is everything in the workspace what was published? Nothing is trusted: every byte is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from weightscape.errors import StoreError, WeightscapeError
from weightscape.operation import find_operation, operation_names
from weightscape.results import Result
from weightscape.studies.keys import task_key
from weightscape.studies.workspace.files import drafts, size_of
from weightscape.studies.workspace.record import OBJECT, Record, explained
from weightscape.studies.workspace.store import PLAN, Store


@dataclass(frozen=True)
class Damage:
    """Something that is not what was published.

    Attributes:
        name: The key of a result, or ``studies/NAME`` for the plan of a study.
        folder: Its folder.
        problem: What is wrong with it.
        removed: Whether it was removed, so that the next run computes it anew.
    """

    name: str
    folder: Path
    problem: str
    removed: bool = False


@dataclass(frozen=True)
class Audit(Result):
    """What a look at every byte of a workspace found.

    Attributes:
        checked: Number of results that were read.
        bytes: Their size.
        damages: What is not as it was published.
        leftovers: Drafts that killed processes left. They do no harm; ``weightscape gc`` removes them.
        unfinished: Resumable state of tasks that were interrupted or are running now.
    """

    checked: int
    bytes: int
    damages: tuple[Damage, ...]
    leftovers: tuple[Path, ...]
    unfinished: tuple[Path, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged, or all that was is removed."""
        return all(damage.removed for damage in self.damages)


def verify(
    store: Store,
    *,
    wanted: Callable[[Record], bool] = lambda record: True,
    repair: bool = False,
    listen: Callable[[str], None] = lambda key: None,
) -> Audit:
    """Read every file of every result, and compare it with its checksum and its key.

    Args:
        store: The workspace.
        wanted: Says of a result whether to read it; one whose ``object.json`` is damaged is reported in any case.
        repair: Whether to remove damaged results, so that the next run computes them anew. One that another process
            is computing at the moment is left alone.
        listen: Called with each key before it is read.
    """
    checked, size, found = 0, 0, []
    for folder in sorted(path for path in store.folder.glob("objects/*/*") if path.is_dir()):
        record = Record(folder.name, folder)
        if (problem := _unreadable(record)) is None:
            if not wanted(record):
                continue
            listen(record.key)
            problem = _problem(record)
        checked, size = checked + 1, size + size_of(folder)
        if problem:
            found.append(Damage(record.key, folder, problem, removed=repair and _remove(store, record)))
    return Audit(checked, size, (*found, *_damaged_plans(store)), *_remains(store))


def _unreadable(record: Record) -> str | None:
    try:
        record.missing()
    except StoreError as error:
        return f"{OBJECT}: {explained(error.__cause__)}"
    return None


def _problem(record: Record) -> str:
    """Return what is wrong with a result whose record can be read; empty when it is whole."""
    missing = record.missing()
    changed = [name for name in record.damaged() if name not in missing]
    parts = [f"{', '.join(missing)} missing"] if missing else []
    parts += [f"{', '.join(changed)} changed"] if changed else []
    right = rehashed(record.content)
    if right is not None and right != record.key:
        parts.append(f"its settings and inputs belong to the key {right}")
    return "; ".join(parts)


def rehashed(content: dict[str, Any]) -> str | None:
    """Return the key that follows from what ``object.json`` says.

    None where that cannot be told: the operation is not installed here, has another version, or other settings.
    """
    name = content["operation"]
    if name not in operation_names():
        return None
    try:
        operation = find_operation(name)
        settings = operation.settings.model_validate(content["settings"])
    except (WeightscapeError, pydantic.ValidationError):
        return None
    if operation.version != content["version"]:
        return None
    return task_key(operation, settings, content["inputs"], content["content"])


def _remove(store: Store, record: Record) -> bool:
    with store.claimed(record.key) as free:
        if free:
            store.discard(record)
    return free


def _damaged_plans(store: Store) -> Iterator[Damage]:
    for name in store.study_names():
        try:
            store.study_plan(name)
        except StoreError as error:
            problem = f"{PLAN}: {explained(error.__cause__)}; run the study again from its file to write it anew"
            yield Damage(f"studies/{name}", store.study_folder(name), problem)


def _remains(store: Store) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return what killed processes left, and the resumable state of tasks."""
    partial = sorted(store.folder.glob("partial/*"))
    left = [path for path in partial if _is_left(store, path)]
    files = drafts(store.folder / "studies")
    return (*left, *files), tuple(path for path in partial if path not in left)


def _is_left(store: Store, path: Path) -> bool:
    key, dot, _ = path.name.partition(".")
    return (bool(dot) or store.get(key) is not None) and not store.is_held(key)
