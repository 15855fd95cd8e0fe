"""Results on disk: one folder per task, published by one rename.

``objects/ab/abcd.../`` holds ``object.json`` (settings, inputs, metrics, environment, checksums) and the artefacts as
safetensors and Parquet. ``partial/KEY/`` holds what is being made. Files are the record: there is no index that could
disagree with them, and the workspace can be moved or copied as a folder.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from weightscape.errors import StoreError
from weightscape.results import Result
from weightscape.studies.plan import Task
from weightscape.studies.workspace.environment import environment
from weightscape.studies.workspace.files import make_durable, reason
from weightscape.studies.workspace.locks import Locks
from weightscape.studies.workspace.publishing import write_object
from weightscape.studies.workspace.record import OBJECT, explained
from weightscape.studies.workspace.record import Record as Record

PLAN = "plan.json"
_LOG = logging.getLogger(__name__)


def workspace_folder(given: str | Path | None = None) -> Path:
    """Return the workspace: the argument, else ``$WEIGHTSCAPE_WORKSPACE``, else ``./weightscape-runs``."""
    return Path(given or os.environ.get("WEIGHTSCAPE_WORKSPACE") or "weightscape-runs")


class Store:
    """A workspace folder.

    Args:
        folder: The workspace; made when something is written to it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._found: dict[str, Record | None] = {}
        self._locks = Locks(self.folder)

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
        """Return a published result, or None; one that is damaged or has files missing is as good as none."""
        if key not in self._found:
            record = Record(key, self._object_folder(key))
            if not (record.folder / OBJECT).is_file():
                return None
            self._found[key] = record if self._is_whole(record) else None
        return self._found[key]

    def forget(self, key: str) -> None:
        """Look at a result anew the next time: another process may have written it."""
        self._found.pop(key, None)

    def _is_whole(self, record: Record) -> bool:
        fault = record.fault()
        if fault:
            text = "The result %s in %s is damaged (%s); it does not count and running again computes it anew."
            _LOG.warning(text, record.key, record.folder, fault)
        return not fault

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
        return tuple(sorted(path.parent.name for path in self.folder.glob(f"studies/*/{PLAN}")))

    def study_plan(self, name: str) -> dict[str, Any]:
        """Return the plan of a study as it was last written: its document, its stages, and the folder of its code.

        Raises:
            StoreError: If it cannot be read.
        """
        path = self.study_folder(name) / PLAN
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {entry: found[entry] for entry in ("document", "stages")} | {"folder": found.get("folder")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "Run the study again from its file to write it anew."
            raise StoreError(f"{path} is damaged ({explained(error)}). {remedy}") from error

    def command_file(self, key: str) -> Path:
        """Return the file that says which one-line command asked for a result."""
        return self.folder / "commands" / f"{key}.json"

    def log_file(self, key: str) -> Path:
        """Return the file that keeps the traceback of a failed task."""
        return self.folder / "logs" / f"{key}.txt"

    def publish(
        self, task: Task, result: Result, *, seconds: float, device: str, how: Mapping[str, str] | None = None
    ) -> Record:
        """Write a result and make it visible, whole, under its key.

        Args:
            task: What was computed.
            result: What came out.
            seconds: Time that it took.
            device: Where.
            how: What else there is to say of how it was computed: together with others, from an earlier result.

        Raises:
            StoreError: If the folder cannot be written; nothing half-written stays visible.
        """
        try:
            draft = self._new_draft(task.key)
            draft.mkdir(parents=True)
            write_object(draft, task, result, seconds=seconds, surroundings=environment(device) | dict(how or {}))
            self._move_into_place(task.key, draft)
        except (OSError, StoreError) as error:
            if self.get(task.key) is None:  # else another process published it meanwhile
                said = reason(error) if isinstance(error, OSError) else str(error)
                raise StoreError(f"The result {task.key} cannot be written to {self.folder}: {said}") from error
        finally:
            self._remove_drafts(task.key)
        self._remove_traces(task.key)
        return Record(task.key, self._object_folder(task.key))

    def discard(self, record: Record) -> None:
        """Remove a result, for instance a damaged one: first from sight in one step, then from the disk."""
        self._found.pop(record.key, None)
        draft = self._new_draft(record.key)
        draft.parent.mkdir(parents=True, exist_ok=True)
        record.folder.rename(draft)
        shutil.rmtree(draft, ignore_errors=True)

    def tidy(self, keys: Iterable[str]) -> None:
        """Remove what killed processes left of tasks that are published by now; what is being written stays."""
        folder = self.folder / "partial"
        left = {path.name.partition(".")[0] for path in folder.iterdir()} if folder.is_dir() else set()
        for key in left.intersection(keys):
            if self.get(key) is None:
                continue
            with self.claimed(key) as free:
                if free:
                    self._remove_drafts(key)
                    self._remove_traces(key)

    def claimed(self, name: str, *, seconds: float = 0) -> AbstractContextManager[bool]:
        """Hold a lock, if no other process does; see :meth:`~weightscape.studies.workspace.locks.Locks.claimed`."""
        return self._locks.claimed(name, seconds=seconds)

    def is_held(self, name: str) -> bool:
        """Return whether another process holds a lock; in a workspace that may only be read this cannot be told."""
        return self._locks.is_held(name)

    def _object_folder(self, key: str) -> Path:
        return self.folder / "objects" / key[:2] / key

    def _new_draft(self, key: str) -> Path:
        return self.folder / "partial" / f"{key}.{uuid.uuid4().hex}"

    def _remove_drafts(self, key: str) -> None:
        for left in (self.folder / "partial").glob(f"{key}.*"):
            shutil.rmtree(left, ignore_errors=True)

    def _remove_traces(self, key: str) -> None:
        shutil.rmtree(self.partial_folder(key), ignore_errors=True)
        with suppress(OSError):
            self.log_file(key).unlink()

    def _move_into_place(self, key: str, draft: Path) -> None:
        target = self._object_folder(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._found.pop(key, None)
        try:
            draft.rename(target)
        except OSError:
            # Another process published the same key first (equal keys mean equal results), or a damaged one lies there.
            if not target.is_dir():
                raise
            if self.get(key) is None:
                self.discard(Record(key, target))
                draft.rename(target)
        self._found.pop(key, None)
        make_durable(target.parent, target.parent.parent)
