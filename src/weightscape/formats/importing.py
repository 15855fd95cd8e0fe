"""Turn the files of one run into a trajectory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from weightscape.errors import ModelError, StoreError
from weightscape.formats.dr_frankenstein import no_log, read_log
from weightscape.formats.result import ImportResult
from weightscape.step import Step
from weightscape.weights.checkpoints import Checkpoint, read_checkpoint
from weightscape.weights.file_hashes import file_hashes
from weightscape.weights.population import check_fit, shapes_of, trajectory_of
from weightscape.weights.runs import FoundRun

if TYPE_CHECKING:
    import pandas

    from weightscape.data.specification import DataSpec
    from weightscape.formats.operations import RunFiles
    from weightscape.models.architecture import Architecture
    from weightscape.operation import Context


def import_files(
    files: RunFiles, *, member: str | None, model: Architecture | None, data: DataSpec | None, context: Context
) -> ImportResult:
    """Return the trajectory that files by step amount to; the weights are read when they are looked at.

    Args:
        files: The files by step, with the hashes that the key of the result was made of.
        member: Which part of the files is meant.
        model: The network that they must fit.
        data: The data set it is for.
        context: Folder of data sets.

    Raises:
        StoreError: If a file is damaged, or was changed after the study was planned.
        ModelError: If a file does not fit the network, naming it and the tensors.
    """
    _check_unchanged(files)
    expected = _expected(model, data, context)
    checkpoints = {
        Step.parse(step): read_checkpoint(file.path, member=member, expected=expected)
        for step, file in files.snapshots.items()
    }
    run = FoundRun("", {}, dict(checkpoints), files.iterations_per_epoch)
    if expected is not None:
        check_fit([run], expected)
    trajectory = trajectory_of(run)
    shapes = run.shapes.values()
    return ImportResult(
        trajectory=trajectory,
        snapshots=_table(checkpoints),
        epochs=no_log() if files.log is None else read_log(files.log.path),
        first=str(trajectory.steps[0]),
        last=str(trajectory.steps[-1]),
        count=len(trajectory),
        tensors=len(shapes),
        numbers=sum(math.prod(shape) for shape in shapes),
        checked=expected is not None,
    )


def _check_unchanged(files: RunFiles) -> None:
    every = [*files.snapshots.values(), *([files.log] if files.log else [])]
    for file, text in zip(every, file_hashes([file.path for file in every]), strict=True):
        if text != file.hash:
            raise StoreError(
                f"{file.path} was changed after this study was planned. Run the same command again, so that its "
                "present content is imported."
            )


def _expected(model: Architecture | None, data: DataSpec | None, context: Context) -> dict[str, tuple[int, ...]] | None:
    if model is None:
        return None
    if data is None:
        raise ModelError("Expected the data set that the model is for, received none. Set 'data'.")
    from weightscape.data.catalogue import shape_and_classes
    from weightscape.models.building import build_model

    shape, classes = shape_and_classes(data, context.data_root)
    return shapes_of(build_model(model, shape=shape, classes=classes))


def _table(checkpoints: dict[Step, Checkpoint]) -> pandas.DataFrame:
    import pandas

    rows = [
        {
            "step": str(step),
            "file": str(found.path),
            "format": found.archive.format,
            "member": found.member,
            "prefix": found.prefix,
            "epoch": found.epoch,
            "iteration": found.iteration,
        }
        for step, found in checkpoints.items()
    ]
    return pandas.DataFrame(rows).astype({"epoch": "Int64", "iteration": "Int64"})
