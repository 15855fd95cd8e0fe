"""Networks with batch norm and many groups: what moves, what is measured, and what stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from weightscape.data.dataset import Dataset
from weightscape.data.loading import load_data
from weightscape.data.specification import DataSettings
from weightscape.models.building import build_model
from weightscape.seeds import stream
from weightscape.symmetry.discovery import discover
from weightscape.symmetry.permutation import Permutation
from weightscape.training.evaluation import evaluate
from weightscape.training.recipe import Recipe, Sgd
from weightscape.training.run import train_model
from weightscape.transfer.batches import BatchStream
from weightscape.transfer.result import TransferResult
from weightscape.transfer.trajectory import transfer_trajectory
from weightscape.weights.algebra import Weights, weights_of
from weightscape.weights.batch_norm import batch_norms, recalibrate
from weightscape.weights.trajectory import Trajectory


def build(seed: int) -> nn.Module:
    return build_model({"name": "resnet18", "width": 0.0625}, shape=(1, 8, 8), classes=10, seed=seed)


@pytest.fixture(scope="module")
def few() -> Dataset:
    return load_data(DataSettings(name="digits", fraction=0.2))


@pytest.fixture(scope="module")
def run(few: Dataset) -> Trajectory:
    recipe = Recipe(epochs=2, batch_size=32, optimizer=Sgd(name="sgd", lr=0.05))
    return train_model(build(0), few, recipe=recipe, order_seed=0).trajectory


@pytest.fixture(scope="module")
def planted(few: Dataset) -> Permutation:
    return discover(build(0), few.train.normalised(slice(2))).random(stream(3, "match"))


def transfer(run: Trajectory, target: Weights, few: Dataset, **options: Any) -> TransferResult:
    settings = {"steps": 2, "batch_size": 64, "batch_norm_batches": 3, "model": build(9), "dataset": few}
    return transfer_trajectory(run, target, **(settings | options))


def buffers(weights: Weights) -> Weights:
    return {name: tensor for name, tensor in weights.items() if name.rpartition(".")[2].startswith(("running", "num"))}


def same(left: Weights, right: Weights) -> bool:
    return left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def test_running_statistics_are_never_interpolated_nor_transferred(run: Trajectory, few: Dataset) -> None:
    target = weights_of(build(1))
    result = transfer(run, target, few, method="naive", batch_norm="none")
    assert same(buffers(result.last), buffers(target))
    moved = {name: target[name] + run.last[name] - run.first[name] for name in target.keys() - buffers(target).keys()}
    assert all(torch.allclose(result.last[name], tensor, atol=1e-6) for name, tensor in moved.items())
    assert "bn1.weight" in moved


def test_recalibrated_statistics_are_those_of_the_named_training_batches(run: Trajectory, few: Dataset) -> None:
    result = transfer(run, weights_of(build(1)), few, method="naive", seed=4)
    model = build(5)
    model.load_state_dict(result.last)
    for layer in batch_norms(model):
        layer.reset_running_stats()
    recalibrate(model, BatchStream(few, seed=4, batch_size=64).batch_norm(3))
    found = buffers(weights_of(model))
    assert all(torch.allclose(tensor, result.last[name], rtol=1e-4, atol=1e-5) for name, tensor in found.items())
    assert int(result.last["bn1.num_batches_tracked"]) == 3


@pytest.mark.parametrize("policy", ["none", "recalibrate"])
def test_the_weights_handed_out_are_the_ones_that_were_measured(run: Trajectory, few: Dataset, policy: str) -> None:
    result = transfer(run, weights_of(build(1)), few, method="naive", batch_norm=policy)
    model = build(5)
    model.load_state_dict(result.last)
    assert evaluate(model, few.test).loss == pytest.approx(result.last_test_loss, rel=1e-5)


def test_the_momentum_does_not_leak(run: Trajectory, few: Dataset) -> None:
    """In the published code it stayed None after a transfer, and fine-tuning averaged over all its batches."""
    model = build(9)
    transfer(run, weights_of(build(1)), few, method="naive", model=model)
    assert {layer.momentum for layer in batch_norms(model)} == {0.1}
    assert same(weights_of(model), weights_of(build(9)))


def test_the_control_holds_with_batch_norm(run: Trajectory, few: Dataset, planted: Permutation) -> None:
    last = transfer(run, weights_of(build(1)), few, method="naive").steps.iloc[-1]
    model = build(5)
    model.load_state_dict(planted.apply(run.last))
    recalibrate(model, BatchStream(few, seed=0, batch_size=64).batch_norm(3))
    assert evaluate(model, few.test).accuracy == last["permuted_source_test_accuracy"]


@pytest.mark.parametrize("method", ["oracle", "fgmt"])
def test_a_planted_permutation_of_twelve_groups_is_found(
    run: Trajectory, few: Dataset, planted: Permutation, method: str
) -> None:
    copy = Trajectory({snapshot.step: planted.apply(snapshot.weights) for snapshot in run})
    result = transfer(run, copy.first, few, method=method, target_trajectory=copy, heldout_batches=0)
    last = result.steps.iloc[-1]
    assert last["validation_accuracy"] == pytest.approx(last["permuted_source_validation_accuracy"], abs=0.01)


@pytest.mark.parametrize("method", ["gmt", "fgmt"])
def test_costs_of_many_groups_remember_nothing_that_an_interruption_loses(
    run: Trajectory, few: Dataset, tmp_path: Path, method: str
) -> None:
    options = {"method": method, "steps": 4, "heldout_batches": 0, "control": "none"}
    target = weights_of(build(1))
    whole = transfer(run, target, few, **options, partial=tmp_path)
    for file in ("step-0003.json", "step-0004.json"):
        (tmp_path / file).unlink()
    resumed = transfer(run, target, few, **options, partial=tmp_path)
    assert resumed.steps.equals(whole.steps)
    assert resumed.permutation == whole.permutation
    assert same(resumed.last, whole.last)
    assert same(resumed.best, whole.best)
