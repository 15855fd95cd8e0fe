"""Snapshots of one run, in the order of time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from weightscape.errors import StoreError, WeightscapeError
from weightscape.step import Step
from weightscape.weights.algebra import Weights
from weightscape.weights.files import load_weights, save_weights
from weightscape.weights.runs import RUN_FILE

LazyWeights: TypeAlias = Callable[[], Weights]
_LENGTH_FILE = "iterations-per-epoch.json"


@dataclass(frozen=True)
class Snapshot:
    """The weights at one step of a run."""

    step: Step
    weights: Weights


class Trajectory:
    """Ordered snapshots of one run; those on disk are read when they are asked for.

    Args:
        snapshots: Weights, the path of a file with them, or a function that reads them, by step.
        iterations_per_epoch: Length of an epoch, where known: ``500it`` and ``1ep70it`` may then name one snapshot.

    Raises:
        StoreError: If there is no snapshot.
    """

    def __init__(
        self, snapshots: Mapping[Step, Weights | Path | LazyWeights], *, iterations_per_epoch: int | None = None
    ) -> None:
        if not snapshots:
            raise StoreError("A trajectory has at least one snapshot, received none.")
        self.iterations_per_epoch = iterations_per_epoch
        normalised = {self._normalised(step): value for step, value in snapshots.items()}
        self._snapshots = dict(sorted(normalised.items(), key=lambda item: item[0]))

    def _normalised(self, step: Step) -> Step:
        return step if self.iterations_per_epoch is None else step.normalised(self.iterations_per_epoch)

    @classmethod
    def open(cls, folder: str | Path) -> Trajectory:
        """Open a folder written by :meth:`save` or by a Recorder, without reading the weights.

        Raises:
            StoreError: If the folder has no snapshots, or a file that is not named by its step.
        """
        files = sorted(Path(folder).glob("*.safetensors"))
        if not files:
            raise StoreError(f"{folder} holds no snapshots (files named like 15ep.safetensors).")
        iterations = _length(Path(folder))
        try:
            snapshots = {Step.parse(file.stem): file for file in files}
        except WeightscapeError as error:
            raise StoreError(f"{folder} should hold only snapshots, named like 15ep.safetensors. {error}") from error
        return cls(snapshots, iterations_per_epoch=iterations)

    def save(self, folder: str | Path) -> None:
        """Write one safetensors file per snapshot into a folder, which is created."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for snapshot in self:
            save_weights(folder / f"{snapshot.step}.safetensors", snapshot.weights)
        if self.iterations_per_epoch is not None:
            (folder / _LENGTH_FILE).write_text(f"{self.iterations_per_epoch}\n")

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the snapshots, in the order of time."""
        return tuple(self._snapshots)

    @property
    def first(self) -> Weights:
        """The weights of the earliest snapshot."""
        return self.at(self.steps[0])

    @property
    def last(self) -> Weights:
        """The weights of the latest snapshot."""
        return self.at(self.steps[-1])

    def at(self, step: Step | str) -> Weights:
        """Return the weights at a step; ``first`` and ``last`` name the two ends.

        Raises:
            StoreError: If no snapshot was kept at that step.
        """
        value = self._snapshots[self.find(step)]
        if isinstance(value, Path):
            return load_weights(value)
        return value() if callable(value) else dict(value)

    def find(self, step: Step | str) -> Step:
        """Return the step, in its normal form, of the snapshot at a step; ``first`` and ``last`` name the two ends.

        Raises:
            StoreError: If no snapshot was kept at that step.
        """
        if step in {"first", "last"}:
            step = self.steps[0 if step == "first" else -1]
        step = self._normalised(Step.parse(step))
        if step not in self._snapshots:
            kept = ", ".join(map(str, self.steps))
            raise StoreError(f"No snapshot was kept at {step}; kept: {kept}. Add the step to the run's 'keep'.")
        return step

    def __len__(self) -> int:
        return len(self._snapshots)

    def __iter__(self) -> Iterator[Snapshot]:
        return (Snapshot(step, self.at(step)) for step in self.steps)

    def __repr__(self) -> str:
        return f"Trajectory({', '.join(map(str, self.steps))})"


def _length(folder: Path) -> int | None:
    """Return the length of an epoch, where the folder says it.

    Raises:
        StoreError: If it says something else.
    """
    try:
        if (folder / _LENGTH_FILE).exists():
            return int((folder / _LENGTH_FILE).read_text())
        if (folder / RUN_FILE).exists():
            found = json.loads((folder / RUN_FILE).read_text(encoding="utf-8")).get("iterations_per_epoch")
            return None if found is None else int(found)
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(f"{folder} is damaged: the length of an epoch cannot be read ({error}).") from error
    return None
