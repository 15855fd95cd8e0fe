"""How studies bring in networks that others trained."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, ConfigDict

from weightscape.data.specification import DataSpec
from weightscape.errors import Problem, SpecificationError, StoreError, WeightscapeError
from weightscape.expansion import Expanded, Expansion, SourcesGone
from weightscape.formats.result import ImportResult
from weightscape.models.architecture import Architecture
from weightscape.operation import Context, operation
from weightscape.weights.layouts import LayoutName

if TYPE_CHECKING:
    from weightscape.weights.layouts import Layout
    from weightscape.weights.runs import FoundRun


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
    log: FileAt | None = None


Files: TypeAlias = str | tuple[str, ...] | RunFiles

_TAKEN = {"key", "status", "message", "files", "step", "member", "model", "data", "path"}
_TAKEN |= {"first", "last", "count", "tensors", "numbers", "checked", "trajectory", "snapshots", "epochs", "layout"}
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
    try:
        runs = [
            (run, told, log)
            for patterns, step, told, layout in _groups(settings)
            for run in find_runs(patterns, step=step, member=settings.member)
            for log in [_log(run, layout)]
        ]
        paths = [str(checkpoint.path) for run, _, _ in runs for checkpoint in run.checkpoints.values()]
        paths += [log for _, _, log in runs if log]
        hashes = dict(zip(paths, file_hashes(paths), strict=True))
    except SpecificationError:
        raise
    except StoreError as error:
        expected = "files of weights, each run in a folder or told apart by its names"
        kind = SourcesGone if isinstance(error, NoFiles) else SpecificationError
        raise kind([Problem("files", expected, repr(settings.files), str(error))]) from error
    except WeightscapeError as error:
        raise SpecificationError([Problem("step", "steps in names", repr(settings.step), str(error))]) from error
    rows = []
    for run, told, log in runs:
        files = {
            str(step): FileAt(path=str(checkpoint.path), hash=hashes[str(checkpoint.path)])
            for step, checkpoint in run.checkpoints.items()
        }
        beside = FileAt(path=log, hash=hashes[log]) if log else None
        found = RunFiles(snapshots=files, iterations_per_epoch=run.iterations_per_epoch, log=beside)
        rows.append(_row(found, run.path, dict(run.settings), told))
    return rows


def _groups(settings: Any) -> Iterator[tuple[list[str], str | None, dict[str, Any], Layout | None]]:
    """Yield files of one architecture: patterns, how names are read, options that folders say, and the layout.

    Raises:
        SpecificationError: If folders name a model and not the data that it is for.
    """
    from weightscape.weights.layouts import find_layout
    from weightscape.weights.runs import find_files

    patterns = [settings.files] if isinstance(settings.files, str) else list(settings.files)
    if settings.layout is None:
        yield patterns, settings.step, {}, None
        return
    layout = find_layout(settings.layout)
    groups: dict[str, tuple[list[str], dict[str, Any]]] = {}
    for path in find_files(layout.patterns(patterns)):
        told = _told(path, settings)
        groups.setdefault(repr(told), ([], told))[0].append(path)
    for paths, told in groups.values():
        yield paths, settings.step or layout.step, told, layout


def _told(path: str, settings: Any) -> dict[str, Any]:
    """Return the model and the data that the folders of a published network name, unless they are given.

    Raises:
        SpecificationError: If the folders name a model and not the data that it is for.
    """
    from weightscape.formats.dr_frankenstein import published_data, told_by_folders

    model, data = told_by_folders(os.path.dirname(path))
    if settings.model is not None or model is None:
        return {}
    if settings.data is None and data is None:
        expected = f"the data set that {model} in {os.path.dirname(path)} is for"
        remedy = (
            "No folder above it says so. For the networks that were published it is "
            f"{json.dumps(published_data('cifar10'))}."
        )
        raise SpecificationError([Problem("data", expected, "none", remedy)])
    return {"model": model} if settings.data is not None else {"model": model, "data": data}


def _log(run: FoundRun, layout: Layout | None) -> str | None:
    """Return the log beside the snapshots of a run, if it has one."""
    first = next(iter(run.checkpoints.values()))
    path = os.path.join(os.path.dirname(first.path), layout.log) if layout else ""
    return path if layout and os.path.isfile(path) else None


def _row(
    files: RunFiles, path: str, settings: dict[str, Any], told: Mapping[str, Any] = MappingProxyType({})
) -> Expanded:
    columns = {**{f"run_{name}" if name in _TAKEN else name: value for name, value in settings.items()}, "path": path}
    content = {f"files.{step}": file.hash for step, file in files.snapshots.items()}
    if files.iterations_per_epoch is not None:
        content["files.iterations_per_epoch"] = str(files.iterations_per_epoch)
    if files.log is not None:
        content["files.log"] = files.log.hash
    options = {"files": files.model_dump(mode="json"), "step": None, "layout": None, **told}
    return Expanded(options, {re.sub(r"\W", "_", name): value for name, value in columns.items()}, content)


@operation("import", version=1, expansion=Expansion(("files", "step", "layout"), rows_of_files))
def import_run(
    *,
    files: Files,
    step: str | None = None,
    member: str | None = None,
    model: Architecture | None = None,
    data: DataSpec | None = None,
    layout: LayoutName | None = None,
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
        layout: How published folders are laid out: dr-frankenstein are those of arXiv 2110.14633. Names then say the
            seeds and steps, folders the model and the data, and the log beside the weights becomes the table epochs.
        context: Device, folders, progress and the wish to stop.
    """
    from weightscape.formats.importing import import_files

    assert isinstance(files, RunFiles)
    return import_files(files, member=member, model=model, data=data, context=context)
