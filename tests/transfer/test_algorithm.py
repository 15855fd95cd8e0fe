"""GMT and FGMT beside algorithm 1 of arXiv 2305.14122 written out for one hidden layer, where every match is exact."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from weightscape.data.dataset import Dataset
from weightscape.symmetry.groups import Symmetry
from weightscape.symmetry.permutation import Permutation
from weightscape.training.gradients import mean_gradient
from weightscape.transfer.batches import BatchStream
from weightscape.transfer.trajectory import transfer_trajectory
from weightscape.weights.algebra import Weights, cosine
from weightscape.weights.trajectory import Trajectory

STEPS, BATCHES, SIZE, SEED = 4, 2, 8, 3  # small batches, so that the permutation changes from step to step
FIRST, LAST = "linear1.weight", "linear2.weight"


def permuted(weights: Weights, index: Tensor) -> Weights:
    """Reorder the hidden units: rows of the first layer, columns of the last."""
    return {FIRST: weights[FIRST][index], LAST: weights[LAST][:, index]}


class Reference:
    """Plain gradients of both sides, at points written as the paper writes them."""

    def __init__(self, model: nn.Module, dataset: Dataset, source: Trajectory, target: Weights) -> None:
        self.model, self.source, self.target = model, source, target
        self.draws = BatchStream(dataset, seed=SEED, batch_size=SIZE)

    def displacement(self, point: int) -> Weights:
        first, last = self.source.first, self.source.last
        return {name: (last[name] - first[name]) * (point / STEPS) for name in (FIRST, LAST)}

    def gradients(self, point: int, index: Tensor, batches: str = "matching", count: int = BATCHES) -> list[Weights]:
        """Return the gradients of target and source at point t, the target's under a permutation."""
        moved = permuted(self.displacement(point), index)
        theta = {name: self.target[name] + moved[name] for name in moved}
        source = {name: self.source.first[name] + self.displacement(point)[name] for name in moved}
        return [mean_gradient(self.model, side, getattr(self.draws, batches)(point, count)) for side in (theta, source)]

    def cost(self, point: int, index: Tensor) -> Tensor:
        """Return ``A[i, j]``: target unit i with source unit j, over both layers."""
        target, source = (
            {name: tensor.double() for name, tensor in side.items()} for side in self.gradients(point, index)
        )
        return target[FIRST] @ source[FIRST].T + target[LAST].T @ source[LAST]


@pytest.mark.parametrize("method", ["gmt", "fgmt"])
def test_every_step_solves_the_problem_of_the_paper(
    model: nn.Module, digits: Dataset, source: Trajectory, other: Trajectory, tmp_path: Path, method: str
) -> None:
    result = transfer_trajectory(
        source,
        other.first,
        model=model,
        dataset=digits,
        method=method,  # type: ignore[arg-type]
        steps=STEPS,
        batches=BATCHES,
        batch_size=SIZE,
        seed=SEED,
        partial=tmp_path,
    )
    found = [Permutation.load(tmp_path / f"step-{step:04d}.safetensors")["linear1"] for step in range(STEPS + 1)]
    assert torch.equal(found[0], torch.arange(32))
    reference = Reference(model, digits, source, other.first)
    for step in range(1, STEPS + 1):
        # GMT takes all target points under the newest permutation, FGMT each under that of its time.
        newest, own = (
            torch.stack([reference.cost(point, index) for point, index in enumerate(under)]).sum(dim=0)
            for under in ([found[step - 1]] * step, found[:step])
        )
        cost, wrong = (newest, own) if method == "gmt" else (own, newest)
        row, rows = result.steps.iloc[step], torch.arange(32)
        best = float(cost[linear_sum_assignment(cost.numpy(), maximize=True)].sum())
        assert float(cost[rows, found[step]].sum()) == pytest.approx(best, rel=1e-5)
        assert row["objective"] == pytest.approx(best, rel=1e-5)
        assert row["objective_identity"] == pytest.approx(float(cost.diagonal().sum()), rel=1e-3)
        for column, batches, count in (("cosine_matching", "matching", BATCHES), ("cosine_heldout", "heldout", 1)):
            target, moving = reference.gradients(step - 1, found[step - 1], batches, count)
            assert row[column] == pytest.approx(cosine(target, permuted(moving, found[step])), rel=1e-3)
    # The test has power: the other method's problem has another value.
    assert float(wrong[rows, found[STEPS]].sum()) != pytest.approx(best, rel=1e-3)


def test_groups_can_be_declared_by_hand(
    model: nn.Module, digits: Dataset, source: Trajectory, copy: Trajectory, planted: Permutation
) -> None:
    by_hand = Symmetry(planted.symmetry.groups)  # without the shape of inputs to prove it on
    options = {"model": model, "dataset": digits, "steps": 2, "heldout_batches": 0}
    assert transfer_trajectory(source, copy.first, symmetry=by_hand, **options).permutation == planted
    still = transfer_trajectory(source, copy.first, symmetry=Symmetry(()), **options)
    assert still.permutation.indices == {}
    assert still.steps["moved"].eq(0).all()
