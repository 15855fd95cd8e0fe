"""A task on its way to another process.

Settings are instances of models that are made from signatures and cannot be pickled, so that a task travels as plain
data: where its operation is, and its settings as JSON types. The other side validates them again and computes the key
again, which must be equal.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from weightscape.errors import WeightscapeError
from weightscape.fingerprints import Fingerprinted, fingerprinted
from weightscape.operation import Operation, find_operation
from weightscape.source import source_hash
from weightscape.studies.binding import Bound, identities
from weightscape.studies.keys import task_key
from weightscape.studies.plan import Task


@dataclass(frozen=True)
class Parcel:
    """A task as plain data.

    Attributes:
        key: Its key.
        module: Module that defines the operation.
        function: Name of the operation in that module.
        operation: Name that the operation is registered under.
        settings: All settings, as JSON types.
        inputs: What fills its parameters.
        content: Fingerprints of data and user code, as they were when the run was planned.
    """

    key: str
    module: str
    function: str
    operation: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Bound | tuple[Bound, ...]]
    content: Mapping[str, str]


def pack(task: Task) -> Parcel:
    """Return a task as plain data."""
    function = task.operation.function
    return Parcel(
        key=task.key,
        module=_importable(function.__module__),
        function=function.__name__,
        operation=task.operation.name,
        settings=task.settings.model_dump(mode="json"),
        inputs=dict(task.inputs),
        content=dict(task.content),
    )


def unpack(parcel: Parcel, data_root: Path | None = None) -> Task:
    """Return the task that was packed in another process.

    Args:
        parcel: The task as plain data.
        data_root: Folder of data sets.

    Raises:
        WeightscapeError: If its operation is not found here, its code is not that of the plan, or its key differs.
    """
    found = _operation(parcel)
    settings = found.settings.model_validate(parcel.settings)
    _check_code(parcel, found, settings, data_root)
    if task_key(found, settings, identities(parcel.inputs), parcel.content) != parcel.key:
        raise WeightscapeError(
            f"The settings of {found.name!r} do not survive the way to another process: their key is not "
            f"{parcel.key}. Settings must be equal after being written as JSON and read again; --workers 0 does "
            "without another process."
        )
    return Task(parcel.key, found, settings, parcel.inputs, parcel.content)


def check_importable(tasks: Iterable[Task]) -> None:
    """Refuse operations that another process cannot import, before anything starts.

    Raises:
        WeightscapeError: If an operation is defined in the script or notebook that runs.
    """
    for task in tasks:
        if _importable(task.operation.function.__module__) == "__main__":
            raise WeightscapeError(
                f"The operation {task.operation.name!r} is defined in the script or notebook that runs, which other "
                "processes cannot import. Move it into a module of its own, or use workers=0."
            )


def _importable(module: str) -> str:
    """Return the name under which another process imports a module, also that of ``python -m NAME``."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name if module == "__main__" and spec is not None else module


def _operation(parcel: Parcel) -> Operation:
    found = getattr(importlib.import_module(parcel.module), parcel.function, None)
    if isinstance(found, Operation) and found.name == parcel.operation:
        return found
    return find_operation(parcel.operation)  # bound to another name than that of its function


def _check_code(parcel: Parcel, found: Operation, settings: BaseModel, data_root: Path | None) -> None:
    """Refuse code of the user that was changed after the plan was made: its results would get the wrong key.

    Data is not hashed again, which would take long and prevent nothing.

    Raises:
        WeightscapeError: If a file has changed.
    """
    from weightscape.data.specification import DataSettings

    members = {path: member for path, member in fingerprinted(settings) if not isinstance(member, DataSettings)}
    now = {path: _at_first_use(path, member, data_root) for path, member in members.items()}
    if not found.is_bundled:
        dotted = f"{found.function.__module__}.{found.function.__name__}"
        now["operation"] = _remembered(dotted, lambda: source_hash(dotted))
    for path, text in now.items():
        if text is not None and text != parcel.content.get(path):
            raise WeightscapeError(
                f"The code behind {path!r} of {found.name!r} was changed after this run was planned; run the same "
                "command again."
            )


def _at_first_use(path: str, member: Fingerprinted, data_root: Path | None) -> str | None:
    return _remembered(f"{path} {member!r}", lambda: member.fingerprint(data_root))


_SEEN: dict[str, str | None] = {}


def _remembered(name: str, fingerprint: Callable[[], str | None]) -> str | None:
    # A process keeps the code that it imported first, whatever happens to the file later.
    if name not in _SEEN:
        _SEEN[name] = fingerprint()
    return _SEEN[name]
