"""Results on disk: one folder per task, published by one rename.

``objects/ab/abcd.../`` holds ``object.json`` (settings, inputs, metrics, environment, checksums) and the artefacts as
safetensors and Parquet. ``partial/KEY/`` holds what is being made. Files are the record: there is no index that could
disagree with them, and the workspace can be moved or copied as a folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from weightscape.errors import StoreError
from weightscape.results import Result, Scalar
from weightscape.studies.artefacts import load_artefact, save_artefact
from weightscape.studies.environment import environment
from weightscape.studies.plan import Task

_FORMAT = 1
_ENTRIES = (
    *("format", "key", "operation", "version", "settings", "inputs", "content"),
    *("outputs", "metrics", "seconds", "environment", "files"),
)
_LOG = logging.getLogger(__name__)


def workspace_folder(given: str | Path | None = None) -> Path:
    """Return the workspace: the argument, else ``$WEIGHTSCAPE_WORKSPACE``, else ``./weightscape-runs``."""
    return Path(given or os.environ.get("WEIGHTSCAPE_WORKSPACE") or "weightscape-runs")


@dataclass(frozen=True)
class Record:
    """A published result, read lazily.

    Attributes:
        key: Its key.
        folder: Its folder.
    """

    key: str
    folder: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        """What ``object.json`` says.

        Raises:
            StoreError: If it cannot be read.
        """
        path = self.folder / "object.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {name: found[name] for name in _ENTRIES}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged ({error!r}). {self._remedy}") from error

    @property
    def _remedy(self) -> str:
        return f"Remove the folder {self.folder} and run the study again; this result alone is computed anew."

    @property
    def settings(self) -> dict[str, Any]:
        """All settings of the task, defaults included."""
        return dict(self.content["settings"])

    @property
    def metrics(self) -> dict[str, Scalar]:
        """The scalar fields of the result, without durations."""
        return dict(self.content["metrics"])

    @property
    def outputs(self) -> dict[str, str]:
        """Artefact types by field."""
        return dict(self.content["outputs"])

    def artefact(self, field: str) -> Any:
        """Read one field of the result.

        Raises:
            StoreError: If the result has no such field or its file is damaged.
        """
        if field not in self.outputs:
            raise StoreError(f"The result {self.key} has no field {field!r}; it has {', '.join(self.outputs)}.")
        try:
            return load_artefact(self.outputs[field], self.folder, field)
        except StoreError as error:
            raise StoreError(f"{error} {self._remedy}") from error

    def missing(self) -> list[str]:
        """Return the names of the files that are gone, without reading those that are there."""
        return [name for name in self.content["files"] if not (self.folder / name).is_file()]

    def damaged(self) -> list[str]:
        """Return the names of the files whose content is not what was published."""
        return [
            name
            for name, checksum in self.content["files"].items()
            if not (self.folder / name).is_file() or _checksum(self.folder / name) != checksum
        ]


class Store:
    """A workspace folder.

    Args:
        folder: The workspace; made when something is written to it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._whole: dict[str, bool] = {}

    def find(self, prefix: str) -> Record:
        """Return the result whose key begins with `prefix`.

        Raises:
            StoreError: If no result, or more than one, does.
        """
        matches = sorted(self.folder.glob(f"objects/{prefix[:2]}/{prefix}*/object.json"))
        if len(matches) != 1:
            found = ", ".join(match.parent.name for match in matches[:5]) or "none"
            raise StoreError(f"Expected one result whose key begins with {prefix!r} in {self.folder}, found {found}.")
        return Record(matches[0].parent.name, matches[0].parent)

    def get(self, key: str) -> Record | None:
        """Return a published result, or None; one with files missing is as good as none."""
        record = Record(key, self._object_folder(key))
        return record if (record.folder / "object.json").is_file() and self._is_whole(record) else None

    def _is_whole(self, record: Record) -> bool:
        if record.key not in self._whole:
            try:
                missing = record.missing()
                fault = f"{', '.join(missing)} missing" if missing else ""
            except StoreError as error:
                fault = str(error.__cause__)
            if fault:
                text = "The result %s in %s is damaged (%s); it does not count and running again computes it anew."
                _LOG.warning(text, record.key, record.folder, fault)
            self._whole[record.key] = not fault
        return self._whole[record.key]

    def records(self) -> Iterator[Record]:
        """Yield all published results that are whole, by key."""
        for path in sorted(self.folder.glob("objects/*/*/object.json")):
            record = self.get(path.parent.name)
            if record is not None:
                yield record

    def partial_folder(self, key: str) -> Path:
        """Return the folder for the resumable state of a task."""
        return self.folder / "partial" / key

    def check_writable(self) -> None:
        """Make the workspace and check that it can be written to, before hours of work are spent on it.

        Raises:
            StoreError: If it cannot.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise StoreError(
                f"The workspace {self.folder} cannot be written: {error.strerror}. Is it the right folder, and may it "
                "be written? See weightscape doctor."
            ) from error

    def study_folder(self, name: str) -> Path:
        """Return the folder of a study's plan, tables, figures and report."""
        return self.folder / "studies" / name

    def study_names(self) -> tuple[str, ...]:
        """Return the names of the studies that were planned in this workspace."""
        return tuple(sorted(path.parent.name for path in self.folder.glob("studies/*/plan.json")))

    def study_plan(self, name: str) -> dict[str, Any]:
        """Return the plan of a study as it was last written.

        Raises:
            StoreError: If it cannot be read.
        """
        path = self.study_folder(name) / "plan.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {entry: found[entry] for entry in ("document", "stages")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "Run the study again from its file to write it anew."
            raise StoreError(f"{path} is damaged ({error!r}). {remedy}") from error

    def log_file(self, key: str) -> Path:
        """Return the file that keeps the traceback of a failed task."""
        return self.folder / "logs" / f"{key}.txt"

    def publish(self, task: Task, result: Result, *, seconds: float, device: str) -> Record:
        """Write a result and make it visible, whole, under its key.

        Raises:
            StoreError: If the folder cannot be written; nothing half-written stays visible.
        """
        draft = self.folder / "partial" / f"{task.key}.{uuid.uuid4().hex}"
        try:
            draft.mkdir(parents=True)
            for field, artefact in task.operation.outputs.items():
                save_artefact(artefact, getattr(result, field), draft, field)
            description = _describe(task, result, seconds=seconds, device=device, files=_checksums(draft))
            (draft / "object.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
            _make_durable(draft)
            self._move_into_place(task.key, draft)
        except OSError as error:
            raise StoreError(f"The result {task.key} cannot be written to {self.folder}: {error}") from error
        finally:
            for left in draft.parent.glob(f"{task.key}.*"):  # also what a killed process left
                shutil.rmtree(left, ignore_errors=True)
        shutil.rmtree(self.partial_folder(task.key), ignore_errors=True)
        self.log_file(task.key).unlink(missing_ok=True)
        return Record(task.key, self._object_folder(task.key))

    def discard(self, record: Record) -> None:
        """Remove a result, for instance a damaged one."""
        self._whole.pop(record.key, None)
        shutil.rmtree(record.folder)

    def _object_folder(self, key: str) -> Path:
        return self.folder / "objects" / key[:2] / key

    def _move_into_place(self, key: str, draft: Path) -> None:
        target = self._object_folder(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.rename(target)
        except OSError:
            # Another process published the same key first (equal keys mean equal results), or a damaged one lies there.
            if not target.is_dir():
                raise
            self._whole.pop(key, None)
            if self.get(key) is None:
                shutil.rmtree(target)
                draft.rename(target)
        self._whole.pop(key, None)


def _describe(task: Task, result: Result, *, seconds: float, device: str, files: Mapping[str, str]) -> dict[str, Any]:
    metrics = result.metrics()
    return {
        "format": _FORMAT,
        "key": task.key,
        "operation": task.operation.name,
        "version": task.operation.version,
        "settings": task.settings.model_dump(mode="json"),
        "inputs": {name: _identities(value) for name, value in task.inputs.items()},
        "content": dict(task.content),
        "outputs": dict(task.operation.outputs),
        "metrics": {name: value for name, value in metrics.items() if not name.endswith("_seconds")},
        "seconds": {
            "total": seconds,
            **{name.removesuffix("_seconds"): value for name, value in metrics.items() if name.endswith("_seconds")},
        },
        "environment": environment(device),
        "files": dict(files),
    }


def _identities(value: Any) -> Any:
    return [member.identity() for member in value] if isinstance(value, tuple) else value.identity()


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _checksum(path) for path in files}


def _make_durable(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
