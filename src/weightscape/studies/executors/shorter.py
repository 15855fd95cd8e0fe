"""Find the result of a shorter task from which a task can go on.

All results of the workspace are looked at, whichever study made them and whatever they kept. What is known of them is
remembered within a process, and only new ones are read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from weightscape.errors import StoreError, WeightscapeError
from weightscape.operation import Operation
from weightscape.studies.binding import identities
from weightscape.studies.keys import canonical
from weightscape.studies.plan import Task
from weightscape.studies.workspace.record import Record
from weightscape.studies.workspace.store import Store


class _Known(NamedTuple):
    key: str
    settings: BaseModel
    device: str


class _Index:
    """What can be continued in one workspace, by operation and family."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()
        self._families: dict[str, list[_Known]] = {}

    def family(self, family: str) -> list[_Known]:
        """Return the results of a family."""
        return self._families.get(family, [])

    def read_new(self, store: Store, operation: Operation) -> None:
        """Read the results of an operation that are new in the workspace."""
        for path in store.folder.glob("objects/*/*"):
            mark = (operation.name, path.name)
            if mark not in self._seen:
                self._seen.add(mark)
                record = store.get(path.name)
                if record is not None and record.content["operation"] == operation.name:
                    self._add(operation, record)

    def _add(self, operation: Operation, record: Record) -> None:
        content = record.content
        if content["version"] != operation.version or not _has_tensors(operation, record):
            return
        try:
            settings = operation.settings.model_validate(content["settings"])
        except ValidationError:  # of a data set or a network that is not there any more
            return
        family = _family(operation, settings, content["inputs"], content["content"])
        if family is not None:
            known = _Known(record.key, settings, str(content["environment"]["device"]))
            self._families.setdefault(family, []).append(known)


_INDEXES: dict[Path, _Index] = {}


def find_shorter(task: Task, store: Store, *, device: str | None = None) -> Record | None:
    """Return the result that has done most of a task, or None.

    Args:
        task: The task.
        store: Where results are.
        device: Kind of device on which the result must have been computed; any by default.
    """
    if task.operation.continues is None:
        return None
    _index(store).read_new(store, task.operation)
    records = (store.get(key) for key in _candidates(task, store, device))
    return next((record for record in records if record is not None and not record.damaged()), None)


def continued(tasks: Iterable[Task], store: Store) -> dict[str, str]:
    """Return which of many tasks would go on from which result, by key; files are not checked for damage."""
    able = [task for task in tasks if task.operation.continues is not None]
    for operation in {task.operation.name: task.operation for task in able}.values():
        _index(store).read_new(store, operation)
    found = {task.key: next(iter(_candidates(task, store, None)), None) for task in able}
    return {key: shorter for key, shorter in found.items() if shorter is not None}


def _index(store: Store) -> _Index:
    return _INDEXES.setdefault(store.folder.resolve(), _Index())


def _candidates(task: Task, store: Store, device: str | None) -> list[str]:
    """Return the keys of the results that have done part of a task, the most first."""
    continues = task.operation.continues
    assert continues is not None
    family = _family(task.operation, task.settings, identities(task.inputs), task.content)
    found = [
        (done, known.key)
        for known in (_index(store).family(family) if family else [])
        if device is None or _kind(known.device) == _kind(device)
        if (done := continues.done(task.settings, known.settings)) is not None
    ]
    return [key for _, key in sorted(found, reverse=True)]


def _family(operation: Operation, settings: BaseModel, inputs: Any, content: Any) -> str | None:
    assert operation.continues is not None
    try:
        family = operation.continues.family(settings)
    except WeightscapeError:  # code of the user's own that cannot be imported; its task will say so
        return None
    return None if family is None else canonical([operation.name, family, inputs, dict(content)])


def _has_tensors(operation: Operation, record: Record) -> bool:
    """Return whether the artefact with the state holds anything, without loading torch."""
    assert operation.continues is not None
    try:
        return bool(tensor_names(record.folder / f"{operation.continues.state}.safetensors"))
    except (OSError, ValueError, struct.error, StoreError):  # none was kept by an earlier version of this package
        return False


def tensor_names(path: Path) -> list[str]:
    """Return the names of the tensors in a safetensors file, from its header alone.

    Raises:
        ValueError: If the header is no JSON.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(length, path.stat().st_size)))
    return [name for name in header if name != "__metadata__"]


def _kind(device: str) -> str:
    """Return the kind of a device: ``cuda:1 (NVIDIA H100)`` is ``cuda``."""
    return device.partition(" ")[0].partition(":")[0]
