"""Weights along a trajectory that was moved to another initialisation.

The transfer rule of arXiv 2305.14122 is ``θ₂ˢ(π) = θ₂⁰ + π(P_s - P_0)``: the displacement of the source since its
initialisation, permuted, is added to the target's initialisation. With the source's own initialisation and without a
permutation it yields the source points themselves, so one class serves both. Parameters alone move: the running
statistics of batch norms are never interpolated, permuted or transferred.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from functools import lru_cache

import torch

from weightscape.devices import device_here
from weightscape.errors import TrainingError
from weightscape.step import Step
from weightscape.symmetry.permutation import Permutation
from weightscape.transfer.schedule import Point
from weightscape.transfer.settings import Path
from weightscape.weights.algebra import Weights, precise_dtype, select
from weightscape.weights.trajectory import Trajectory


class Source:
    """The trajectory that is transferred, by its anchors: the snapshots between which it is taken as straight.

    Anchors are read when they are asked for, and two are kept in memory.

    Args:
        trajectory: The run.
        parameters: Names of the tensors that move.
        path: ``linear`` for the two ends only, ``actual`` for every snapshot that was kept.
        whose: Whose run it is, for messages.
        device: Where displacements are computed.

    Raises:
        TrainingError: If fewer than two snapshots were kept.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        parameters: Collection[str],
        *,
        path: Path,
        whose: str = "source",
        device: str | torch.device = "cpu",
    ) -> None:
        _check_moves(trajectory, whose)
        self._trajectory = trajectory
        self._parameters = tuple(parameters)
        self._device = device_here(device)
        steps = trajectory.steps
        self.anchors: tuple[Step, ...] = steps if path == "actual" else (steps[0], steps[-1])
        self.first = trajectory.first
        self._start = self.precise(self.first)
        self.weights = lru_cache(maxsize=2)(self._read)
        self.displacement = lru_cache(maxsize=2)(self._displacement)

    @property
    def stretches(self) -> int:
        """The number of straight stretches."""
        return len(self.anchors) - 1

    def _read(self, anchor: int) -> Weights:
        """Return all weights at an anchor."""
        return self._trajectory.at(self.anchors[anchor])

    def _displacement(self, anchor: int) -> Weights:
        """Return the parameters at an anchor minus those at the first one, float64."""
        end = self.precise(self.weights(anchor))
        return {name: tensor - self._start[name] for name, tensor in end.items()}

    def precise(self, weights: Weights) -> Weights:
        """Return the parameters in float64 on the device: the difference of two float32 numbers is (almost) exact."""
        chosen = select(weights, self._parameters)
        dtype = precise_dtype(self._device)
        return {name: tensor.detach().to(self._device, dtype) for name, tensor in chosen.items()}


class MovedPath:
    """The points of a source's trajectory, moved to a base and permuted.

    Displacements are added in float64 and rounded once, so that the source's own initialisation as the base gives the
    source's snapshots back, bit for bit.

    Args:
        source: The trajectory.
        points: Its points.
        base: Parameters to add the displacements to, at least all that move.
        permutation: Acts on the displacements; the identity by default.
    """

    def __init__(
        self, source: Source, points: tuple[Point, ...], base: Weights, permutation: Permutation | None = None
    ) -> None:
        self._source = source
        self._points = points
        self._permutation = permutation
        self._base = base
        self._start = source.precise(base)
        self._moved: dict[int, Weights] = {}

    def permuted(self, permutation: Permutation) -> MovedPath:
        """Return the same path under another permutation."""
        path = copy.copy(self)  # the base is shared
        path._permutation, path._moved = permutation, {}
        return path

    def at(self, step: int) -> Weights:
        """Return the parameters at a step, on the source's device."""
        point = self._points[step]
        if point.anchor == 0:
            return self._rounded(self._start)
        end = self._displacement(point.anchor)
        if point.weight == 1:
            moved = end
        elif point.anchor == 1:
            moved = {name: point.weight * tensor for name, tensor in end.items()}
        else:
            begin = self._displacement(point.anchor - 1)
            moved = {name: torch.lerp(begin[name], tensor, point.weight) for name, tensor in end.items()}
        return self._rounded({name: tensor + moved[name] for name, tensor in self._start.items()})

    def _displacement(self, anchor: int) -> Weights:
        """Return the permuted displacement of an anchor; the last two are kept."""
        if anchor not in self._moved:
            displacement = self._source.displacement(anchor)
            moved = displacement if self._permutation is None else self._permutation.apply(displacement)
            self._moved = {kept: value for kept, value in self._moved.items() if kept == anchor - 1} | {anchor: moved}
        return self._moved[anchor]

    def _rounded(self, weights: Weights) -> Weights:
        return {name: tensor.to(self._base[name].dtype) for name, tensor in weights.items()}


def _check_moves(trajectory: Trajectory, whose: str) -> None:
    """Check that a trajectory has two ends.

    Raises:
        TrainingError: If fewer than two snapshots were kept.
    """
    if len(trajectory) < 2:
        kept = ", ".join(map(str, trajectory.steps))
        raise TrainingError(
            f"The trajectory of the {whose} needs at least two snapshots to move between, kept: {kept}. "
            "Train it for at least one epoch with 'keep: ends' or 'keep: epochs'."
        )
