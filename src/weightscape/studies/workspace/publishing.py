"""Write the folder of a result: its artefacts, and ``object.json`` with everything that is known about it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightscape.results import Result
from weightscape.studies.binding import identities
from weightscape.studies.plan import Task
from weightscape.studies.workspace.artefacts import save_artefact
from weightscape.studies.workspace.files import make_durable
from weightscape.studies.workspace.record import OBJECT, checksums, sealed

_FORMAT = 1


def write_object(folder: Path, task: Task, result: Result, *, seconds: float, surroundings: Mapping[str, Any]) -> None:
    """Write a result into a folder that nobody sees yet, durably.

    Args:
        folder: The folder, which is there and empty.
        task: What was computed.
        result: What came out.
        seconds: Time that it took.
        surroundings: What it was computed with, and how.
    """
    for field, artefact in task.operation.outputs.items():
        save_artefact(artefact, getattr(result, field), folder, field)
    files = checksums(folder)
    _link_equal(folder, files)
    content = _describe(task, result, seconds=seconds, surroundings=surroundings, files=files)
    plain = json.loads(json.dumps(content))
    (folder / OBJECT).write_text(json.dumps(sealed(plain), indent=1), encoding="utf-8")
    make_durable(*folder.rglob("*"), folder)


def _link_equal(folder: Path, files: Mapping[str, str]) -> None:
    """Store files of equal content once, under all their names, where the file system can.

    The best weights of a run are often those of its last snapshot.
    """
    first: dict[str, Path] = {}
    for name, digest in files.items():
        path = folder / name
        known = first.setdefault(digest, path)
        if known == path:
            continue
        spare = path.with_name(f"{path.name}.link")
        try:
            os.link(known, spare)
            os.replace(spare, path)
        except OSError:  # no hard links here: there are two files then
            return


def _describe(
    task: Task, result: Result, *, seconds: float, surroundings: Mapping[str, Any], files: Mapping[str, str]
) -> dict[str, Any]:
    metrics = result.metrics()
    return {
        "format": _FORMAT,
        "key": task.key,
        "operation": task.operation.name,
        "version": task.operation.version,
        "settings": task.settings.model_dump(mode="json"),
        "inputs": identities(task.inputs),
        "content": dict(task.content),
        "outputs": dict(task.operation.outputs),
        "metrics": {name: value for name, value in metrics.items() if not name.endswith("_seconds")},
        "seconds": {
            "total": seconds,
            **{name.removesuffix("_seconds"): value for name, value in metrics.items() if name.endswith("_seconds")},
        },
        "environment": dict(surroundings),
        "files": dict(files),
    }
