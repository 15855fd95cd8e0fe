"""How studies bring in networks that others trained."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict

from weightscape.data.specification import DataSpec
from weightscape.errors import Problem, SpecificationError, StoreError, WeightscapeError
from weightscape.expansion import Expanded, Expansion, SourcesGone
from weightscape.formats.result import ImportResult
from weightscape.models.architecture import Architecture
from weightscape.operation import Context, operation


class FileAt(BaseModel):
    """A file, and the hash of what it held when the study was planned."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    hash: str


class RunFiles(BaseModel):
    """The files of one run by step, which patterns become when a study is planned."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    snapshots: dict[str, FileAt]
    iterations_per_epoch: int | None = None


Files: TypeAlias = str | tuple[str, ...] | RunFiles

_TAKEN = {"key", "status", "message", "files", "step", "member", "model", "data", "path"}
_TAKEN |= {"first", "last", "count", "tensors", "numbers", "checked", "trajectory", "snapshots"}
"""Columns that the table of an import has itself: settings of a run that are called so are named ``run_...``."""


def rows_of_files(settings: Any) -> list[Expanded]:
    """Return one row per run that the files amount to; headers are read, and hashes where they are not known.

    Raises:
        SourcesGone: If there are no such files.
        SpecificationError: If they are damaged, or it is not clear how they belong together.
    """
    from weightscape.weights.file_hashes import file_hashes
    from weightscape.weights.runs import NoFiles, find_runs

    if isinstance(settings.files, RunFiles):
        return [_row(settings.files, "", {})]
    if settings.model is not None and settings.data is None:
        remedy = "The shape of the inputs and the number of classes follow from it."
        raise SpecificationError([Problem("data", "the data set that the model is for", "none", remedy)])
    patterns = [settings.files] if isinstance(settings.files, str) else list(settings.files)
    try:
        runs = find_runs(patterns, step=settings.step, member=settings.member)
        paths = [str(checkpoint.path) for run in runs for checkpoint in run.checkpoints.values()]
        hashes = dict(zip(paths, file_hashes(paths), strict=True))
    except StoreError as error:
        expected = "files of weights, each run in a folder or told apart by its names"
        kind = SourcesGone if isinstance(error, NoFiles) else SpecificationError
        raise kind([Problem("files", expected, repr(settings.files), str(error))]) from error
    except WeightscapeError as error:
        raise SpecificationError([Problem("step", "steps in names", repr(settings.step), str(error))]) from error
    rows = []
    for run in runs:
        files = {
            str(step): FileAt(path=str(checkpoint.path), hash=hashes[str(checkpoint.path)])
            for step, checkpoint in run.checkpoints.items()
        }
        found = RunFiles(snapshots=files, iterations_per_epoch=run.iterations_per_epoch)
        rows.append(_row(found, run.path, dict(run.settings)))
    return rows


def _row(files: RunFiles, path: str, settings: dict[str, Any]) -> Expanded:
    columns = {**{f"run_{name}" if name in _TAKEN else name: value for name, value in settings.items()}, "path": path}
    content = {f"files.{step}": file.hash for step, file in files.snapshots.items()}
    if files.iterations_per_epoch is not None:
        content["files.iterations_per_epoch"] = str(files.iterations_per_epoch)
    options = {"files": files.model_dump(mode="json"), "step": None}
    return Expanded(options, {re.sub(r"\W", "_", name): value for name, value in columns.items()}, content)


@operation("import", version=1, expansion=Expansion(("files", "step"), rows_of_files))
def import_run(
    *,
    files: Files,
    step: str | None = None,
    member: str | None = None,
    model: Architecture | None = None,
    data: DataSpec | None = None,
    context: Context,
) -> ImportResult:
    """Bring in runs that were trained elsewhere: files of torch.save or safetensors, one run per folder.

    Each run is a row, with the settings in the names of its files, in ``run.json`` and in the files themselves as
    columns. Nothing in a file is executed.

    Args:
        files: Paths such as runs/*/ep*.pt, or folders.
        step: How steps and settings stand in names: seed{seed}/ep{epoch}.pt, a regular expression with the groups epoch
            and iteration, or one step for all such as 15ep. By default ep12, epoch=12, step_500 and 000500 are known.
        member: Which part of the files is meant, where they hold several networks.
        model: The network; every file must have its tensors, no more and no fewer.
        data: The data set the network is for; like ``model`` handed on to what is computed on the rows.
        context: Device, folders, progress and the wish to stop.
    """
    from weightscape.formats.importing import import_files

    assert isinstance(files, RunFiles)
    return import_files(files, member=member, model=model, data=data, context=context)
