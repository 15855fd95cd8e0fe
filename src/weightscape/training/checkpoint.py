"""The resume folder of a run: checkpoints and snapshots that survive a kill at any moment.

``EPOCH-ITERATION.safetensors`` holds tensors, ``EPOCH-ITERATION.json`` the rest and the digest of the former. The JSON
is written last, each file under a temporary name first. A checkpoint counts only if all its digests hold, so that a
torn write is as good as none, and the one before it is kept. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from safetensors.torch import load, save

from weightscape.errors import StoreError
from weightscape.step import Step
from weightscape.weights.algebra import Weights

Row = dict[str, float | int | None]
_LOG = logging.getLogger(__name__)
_FORMAT = 1
_NAME = re.compile(r"\d{6,}-\d{9,}")


class Progress(BaseModel):
    """How far a run is, and all it has found so far but the tensors.

    Attributes:
        epoch: Epochs done.
        iteration: Iterations done since.
        rows: The table of epochs.
        snapshots: Digests of the snapshots on disk, by step.
        seconds: Time spent.
        failures: Why members of a population stopped, by member.
    """

    epoch: int = 0
    iteration: int = 0
    rows: list[Row] = []
    snapshots: dict[str, str] = {}
    seconds: float = 0.0
    failures: dict[str, str] = {}

    @property
    def name(self) -> str:
        """Stem of the checkpoint's files; the order of names is the order of time."""
        return f"{self.epoch:06d}-{self.iteration:09d}"


class _Manifest(BaseModel):
    format: int
    identity: dict[str, Any]
    tensors: str
    progress: Progress


@dataclass(frozen=True)
class Checkpoint:
    """A complete state of a run."""

    progress: Progress
    tensors: Weights


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _write(path: Path, content: bytes) -> str:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    return _digest(content)


def _differences(mine: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in sorted(mine.keys() | other.keys()):
        left, right = mine.get(key), other.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            found += _differences(left, right, f"{prefix}{key}.")
        elif left != right:
            found.append(f"{prefix}{key} is {left!r} here and {right!r} there")
    return found


class ResumeFolder:
    """The checkpoints and snapshots of one run.

    Args:
        folder: Created if missing.
        identity: JSON values that tell this run from any other.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._identity = json.loads(json.dumps(identity))
        self._previous: str | None = None

    def snapshot_path(self, step: Step | str) -> Path:
        """Return the file of a snapshot."""
        return self._folder / "snapshots" / f"{step}.safetensors"

    def save_snapshot(self, step: Step | str, weights: Weights) -> str:
        """Write a snapshot and return its digest; it counts once a checkpoint lists it."""
        path = self.snapshot_path(step)
        path.parent.mkdir(exist_ok=True)
        return _write(path, save(weights, metadata={"order": "\n".join(weights)}))

    def save(self, progress: Progress, tensors: Weights) -> None:
        """Write a checkpoint and remove all but this one and the one before."""
        digest = _write(self._folder / f"{progress.name}.safetensors", save(tensors))
        manifest = _Manifest(format=_FORMAT, identity=self._identity, tensors=digest, progress=progress)
        _write(self._folder / f"{progress.name}.json", json.dumps(manifest.model_dump(mode="json")).encode())
        for file in self._folder.iterdir():
            name = file.name.partition(".")[0]
            if _NAME.fullmatch(name) and name not in {progress.name, self._previous}:
                file.unlink(missing_ok=True)
        self._previous = progress.name

    def latest(self) -> Checkpoint | None:
        """Return the newest complete checkpoint; ``None`` if there is none.

        Raises:
            StoreError: If the folder belongs to another run.
        """
        for path in sorted(self._folder.glob("*-*.json"), reverse=True):
            try:
                checkpoint = self._read(path)
            except (OSError, ValueError) as error:
                _LOG.warning("The checkpoint %s is damaged and is not used: %s", path, error)
                continue
            self._previous = checkpoint.progress.name
            return checkpoint
        return None

    def _read(self, path: Path) -> Checkpoint:
        manifest = _Manifest.model_validate(json.loads(path.read_bytes()))
        self._check_identity(manifest)
        content = path.with_suffix(".safetensors").read_bytes()
        if _digest(content) != manifest.tensors:
            raise ValueError("its tensors do not have the recorded digest")
        for step, digest in manifest.progress.snapshots.items():
            if _digest(self.snapshot_path(step).read_bytes()) != digest:
                raise ValueError(f"the snapshot {step} does not have the recorded digest")
        return Checkpoint(manifest.progress, load(content))

    def _check_identity(self, manifest: _Manifest) -> None:
        differences = _differences(self._identity, manifest.identity)
        if manifest.format != _FORMAT:
            differences.append(f"the format is {_FORMAT} here and {manifest.format} there")
        if differences:
            raise StoreError(
                f"{self._folder} holds checkpoints of another run: {'; '.join(differences[:5])}. "
                "Give this run a folder of its own, or remove that one if it is no longer needed."
            )
