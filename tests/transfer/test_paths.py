"""Points of a trajectory, moved to another initialisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weightscape.errors import TrainingError
from weightscape.symmetry.permutation import Permutation
from weightscape.transfer.paths import MovedPath, Source
from weightscape.transfer.schedule import plan_points
from weightscape.weights.algebra import Weights, add, scale, subtract
from weightscape.weights.trajectory import Trajectory


def names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]


def equal(left: Weights, right: Weights) -> bool:
    return left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def close(left: Weights, right: Weights) -> bool:
    return left.keys() == right.keys() and all(
        torch.allclose(tensor, right[name], rtol=1e-6, atol=1e-7) for name, tensor in left.items()
    )


def test_at_the_own_initialisation_the_snapshots_come_back_to_the_bit(source: Trajectory, model: nn.Module) -> None:
    run = Source(source, names(model), path="actual")
    path = MovedPath(run, plan_points(run.stretches, run.stretches, "uniform"), source.first)
    assert all(equal(path.at(number), snapshot.weights) for number, snapshot in enumerate(source))


def test_a_linear_trajectory_ends_at_the_permuted_displacement(
    source: Trajectory, other: Trajectory, model: nn.Module, planted: Permutation
) -> None:
    run = Source(source, names(model), path="linear")
    path = MovedPath(run, plan_points(1, 4, "uniform"), other.first, planted)
    whole = planted.apply(subtract(source.last, source.first))
    assert equal(path.at(0), other.first)
    assert close(path.at(4), add(other.first, whole))
    assert close(path.at(1), add(other.first, scale(whole, 0.25)))


def test_an_actual_trajectory_passes_through_the_moved_snapshots(
    source: Trajectory, other: Trajectory, model: nn.Module, planted: Permutation
) -> None:
    run = Source(source, names(model), path="actual")
    path = MovedPath(run, plan_points(4, 8, "uniform"), other.first, planted)
    snapshots = [snapshot.weights for snapshot in source]
    for step in range(9):
        left, right = snapshots[step // 2], snapshots[(step + 1) // 2]
        middle = scale(add(left, right), 0.5)
        assert close(path.at(step), add(other.first, planted.apply(subtract(middle, source.first))))


def test_a_point_does_not_depend_on_the_points_asked_for_before(
    source: Trajectory, other: Trajectory, model: nn.Module, planted: Permutation
) -> None:
    run = Source(source, names(model), path="actual")
    points = plan_points(4, 8, "cosine")
    path = MovedPath(run, points, other.first, planted)
    straight = [path.at(step) for step in range(9)]
    for step in (7, 2, 8, 0, 3, 3, 1):
        assert equal(path.at(step), straight[step])
        assert equal(MovedPath(run, points, other.first, planted).at(step), straight[step])


def test_one_snapshot_is_no_trajectory(source: Trajectory, model: nn.Module) -> None:
    alone = Trajectory({source.steps[0]: source.first})
    with pytest.raises(TrainingError, match=r"two snapshots.*kept: 0ep"):
        Source(alone, names(model), path="linear")
