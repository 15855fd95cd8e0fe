"""The weights that a run keeps: snapshots at given steps, and the best so far, in memory or in its resume folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from weightscape.step import Step
from weightscape.training.checkpoint import Progress, ResumeFolder
from weightscape.weights.algebra import Weights
from weightscape.weights.files import load_weights
from weightscape.weights.trajectory import Trajectory


class KeptWeights:
    """Collects weights; once attached to a folder, it writes them there and holds their places alone.

    Args:
        steps: The steps to keep, by the number of iterations done.
    """

    def __init__(self, steps: Mapping[int, Step]) -> None:
        self.steps = steps
        self.digests: dict[str, str] = {}
        self.best_digest: dict[str, str] = {}
        self._snapshots: dict[Step, Weights | Path] = {}
        self._best: Weights | Path = {}
        self._folder: ResumeFolder | None = None

    def attach(self, folder: ResumeFolder) -> None:
        """Write what is kept from now on."""
        self._folder = folder

    def reopen(self, progress: Progress) -> None:
        """Take up what a checkpoint lists, which lies in the folder."""
        assert self._folder is not None
        self.digests, self.best_digest = dict(progress.snapshots), dict(progress.best)
        self._snapshots = {Step.parse(text): self._folder.snapshot_path(text) for text in self.digests}
        for name in self.best_digest:
            self._best = self._folder.snapshot_path(name)

    def __contains__(self, step: Step) -> bool:
        return step in self._snapshots

    def add(self, step: Step, weights: Weights) -> None:
        """Keep a snapshot."""
        self._snapshots[step] = weights
        if self._folder:
            self.digests[str(step)] = self._folder.save_snapshot(step, weights)
            self._snapshots[step] = self._folder.snapshot_path(step)

    def replace_best(self, epoch: int, weights: Weights) -> None:
        """Keep the best weights instead of those before; what is kept as a snapshot anyway is not written twice."""
        self._best = weights
        if self._folder:
            kept = self.digests.get(str(Step(epoch)))
            self.best_digest = {str(Step(epoch)): kept} if kept else self._folder.save_best(epoch, weights)
            self._best = self._folder.snapshot_path(next(iter(self.best_digest)))

    def trajectory(self, *, length: int) -> Trajectory:
        """Return the snapshots; an epoch has `length` iterations."""
        return Trajectory(self._snapshots, iterations_per_epoch=length)

    def best(self) -> Weights:
        """Return the best weights."""
        return load_weights(self._best) if isinstance(self._best, Path) else self._best
