"""Rows from outside a study: other studies of the workspace, single tasks by key, files of weights."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from weightscape.errors import Problem, SpecificationError, StoreError, did_you_mean
from weightscape.operation import Operation, find_operation
from weightscape.studies.plan import Row, StagePlan
from weightscape.studies.reference import Reference

if TYPE_CHECKING:
    from weightscape.studies.workspace.store import Store


class Sources:
    """Finds what references outside the study name.

    Args:
        store: The workspace; without one only files are found.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._store = store

    @property
    def store(self) -> Store | None:
        """The workspace."""
        return self._store

    def table(self, reference: Reference, where: str) -> StagePlan:
        """Return the rows that a reference names, and their outputs.

        Raises:
            SpecificationError: If there is nothing of that name.
            StoreError: If it is damaged.
        """
        if reference.kind == "path":
            return _files(reference, where)
        return self._task(reference, where) if reference.kind == "key" else self._stage(reference, where)

    def _task(self, reference: Reference, where: str) -> StagePlan:
        expected = "the key of a result in the workspace"
        if self._store is None:
            raise SpecificationError([Problem(where, expected, repr(reference.name), "No workspace is open.")])
        try:
            record = self._store.find(reference.name)
        except StoreError as error:
            raise SpecificationError([Problem(where, expected, repr(reference.name), str(error))]) from error
        return StagePlan((Row(record.settings, record.key),), record.outputs, _installed(record.content["operation"]))

    def _stage(self, reference: Reference, where: str) -> StagePlan:
        known = self._store.study_names() if self._store else ()
        if self._store is None or reference.study not in known:
            remedy = did_you_mean(str(reference.study), known) or "Run that study in this workspace first."
            raise SpecificationError([Problem(where, "a study of this workspace", repr(reference.study), remedy)])
        plan = self._store.study_plan(str(reference.study))
        if reference.name not in plan["stages"]:
            remedy = did_you_mean(reference.name, plan["stages"])
            raise SpecificationError([Problem(where, f"a stage of {reference.study!r}", repr(reference.name), remedy)])
        stage = plan["stages"][reference.name]
        rows = tuple(Row(row["settings"], row["key"]) for row in stage["rows"])
        return StagePlan(rows, stage["outputs"], _installed(stage["operation"]))


def _installed(name: str) -> Operation | None:
    """Return an operation that made results, if it is here: results can be used without what made them."""
    try:
        return find_operation(name)
    except SpecificationError:
        return None


def _files(reference: Reference, where: str) -> StagePlan:
    text = os.path.expanduser(reference.name)
    # A file of exactly this name comes before the pattern: folders may be called "runs [old]".
    paths = [text] if os.path.isfile(text) else sorted(filter(os.path.isfile, glob.glob(text, recursive=True)))
    if not paths:
        from weightscape.weights.runs import what_is_there

        remedy = f"{what_is_there(text)} Looked for it from {Path.cwd()}."
        raise SpecificationError([Problem(where, "a file of weights", repr(reference.name), remedy)])
    hashes = _contents(paths, where)
    rows = tuple(Row({"path": path}, f"file:{text}", path) for path, text in zip(paths, hashes, strict=True))
    return StagePlan(rows, {"weights": "Weights"})


def _contents(paths: list[str], where: str) -> list[str]:
    from weightscape.weights.file_hashes import file_hashes

    try:
        return file_hashes(paths)
    except StoreError as error:
        raise SpecificationError([Problem(where, "files that can be read", repr(paths[0]), str(error))]) from error
