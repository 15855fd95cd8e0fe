"""The resume folder of a run: checkpoints and snapshots that survive a kill at any moment.

A checkpoint is a pair of sealed files called ``EPOCH-ITERATION``. It counts only if its digests and those of the
snapshots it lists hold; the one before it is kept.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from safetensors.torch import load, save

from weightscape.step import Step
from weightscape.weights.algebra import Weights
from weightscape.weights.sealed import SealedFolder, read_whole, write_whole

Row = dict[str, float | int | None]
_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"\d{6,}-\d{9,}")
_BEST = "best-"


class Progress(BaseModel):
    """How far a run is, and all it has found so far but the tensors.

    Attributes:
        epoch: Epochs done.
        iteration: Iterations done since.
        rows: The table of epochs.
        snapshots: Digests of the snapshots on disk, by step.
        best: Digests of the files with the best weights so far, by name; more than one for a population.
        test_stderr: Standard error of the latest test accuracy.
        seconds: Time spent.
        failures: Why members of a population stopped, by member.
    """

    epoch: int = 0
    iteration: int = 0
    rows: list[Row] = []
    snapshots: dict[str, str] = {}
    best: dict[str, str] = {}
    test_stderr: float = 0.0
    seconds: float = 0.0
    failures: dict[str, str] = {}

    @property
    def name(self) -> str:
        """Stem of the checkpoint's files; the order of names is the order of time."""
        return f"{self.epoch:06d}-{self.iteration:09d}"


@dataclass(frozen=True)
class Checkpoint:
    """A complete state of a run."""

    progress: Progress
    tensors: Weights


class ResumeFolder:
    """The checkpoints and snapshots of one run.

    Args:
        folder: Created if missing.
        identity: JSON values that tell this run from any other.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self._files = SealedFolder(folder, identity, holds="checkpoints of another run")
        self._folder = self._files.folder
        self._previous: Progress | None = None

    def snapshot_path(self, step: Step | str) -> Path:
        """Return the file of a snapshot, or of the best weights by their name."""
        return self._folder / "snapshots" / f"{step}.safetensors"

    def save_snapshot(self, step: Step | str, weights: Weights) -> str:
        """Write a snapshot and return its digest; it counts once a checkpoint lists it."""
        path = self.snapshot_path(step)
        path.parent.mkdir(exist_ok=True)
        return write_whole(path, save(weights, metadata={"order": "\n".join(weights)}))

    def save_best(self, epoch: int, weights: Weights, *, member: str = "") -> dict[str, str]:
        """Write the best weights so far and return their digest by name, for :attr:`Progress.best`.

        They are removed once neither the latest checkpoint nor the one before lists them.
        """
        name = f"{_BEST}{member}{epoch:06d}"
        return {name: self.save_snapshot(name, weights)}

    def save(self, progress: Progress, tensors: Weights) -> None:
        """Write a checkpoint and remove all but this one and the one before."""
        self._files.write(progress.name, save(tensors), progress.model_dump(mode="json"))
        recent = [progress, *([self._previous] if self._previous else [])]
        for file in self._folder.iterdir():
            name = file.name.partition(".")[0]
            if _NAME.fullmatch(name) and name not in {one.name for one in recent}:
                file.unlink(missing_ok=True)
        for file in (self._folder / "snapshots").glob(f"{_BEST}*"):
            if file.name.partition(".")[0] not in {name for one in recent for name in one.best}:
                file.unlink(missing_ok=True)
        self._previous = progress.model_copy(deep=True)

    def latest(self) -> Checkpoint | None:
        """Return the newest complete checkpoint; ``None`` if there is none.

        Raises:
            StoreError: If the folder belongs to another run.
        """
        for path in sorted(self._folder.glob("*-*.json"), reverse=True):
            try:
                checkpoint = self._read(path.stem)
            except (OSError, ValueError) as error:
                _LOG.warning("The checkpoint %s is damaged and is not used: %s", path, error)
                continue
            self._previous = checkpoint.progress.model_copy(deep=True)
            return checkpoint
        return None

    def _read(self, stem: str) -> Checkpoint:
        facts, content = self._files.read(stem)
        progress = Progress.model_validate(facts)
        for name, digest in {**progress.snapshots, **progress.best}.items():
            read_whole(self.snapshot_path(name), digest)
        return Checkpoint(progress, load(content))
