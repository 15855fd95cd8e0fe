"""Transfers with known answers, and the laws of the algorithms."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from weightscape.data.dataset import Dataset
from weightscape.errors import ModelError, TrainingError
from weightscape.seeds import stream
from weightscape.step import Step
from weightscape.symmetry.costs import PairCosts
from weightscape.symmetry.permutation import Permutation
from weightscape.training.evaluation import evaluate
from weightscape.training.gradients import GradientOracle, mean_gradient
from weightscape.transfer.batches import BatchStream
from weightscape.transfer.result import COLUMNS, TransferResult
from weightscape.transfer.trajectory import transfer_trajectory
from weightscape.weights.algebra import Weights, add, cosine, dot, subtract, weights_of
from weightscape.weights.trajectory import Trajectory

METHODS = ("gmt", "fgmt", "oracle", "naive")


@pytest.fixture
def transfer(untouched: nn.Module, digits: Dataset, source: Trajectory) -> Any:
    """Return a transfer of the source with options to change."""

    def run(target: Trajectory, **options: Any) -> TransferResult:
        settings = {"steps": 4, "batch_size": 96, "target_trajectory": target, "model": untouched, "dataset": digits}
        return transfer_trajectory(options.pop("source", source), target.first, **(settings | options))

    return run


def accuracy(model_weights: Weights, model: nn.Module, split: Any) -> float:
    import copy

    other = copy.deepcopy(model)
    other.load_state_dict(model_weights)
    return evaluate(other, split).accuracy


def close(left: Weights, right: Weights) -> bool:
    return all(torch.allclose(tensor, right[name], rtol=1e-5, atol=1e-6) for name, tensor in left.items())


def same(left: TransferResult, right: TransferResult) -> bool:
    return (
        left.steps.equals(right.steps)
        and left.permutation == right.permutation
        and left.best_permutation == right.best_permutation
        and all(torch.equal(tensor, right.last[name]) for name, tensor in left.last.items())
        and all(torch.equal(tensor, right.best[name]) for name, tensor in left.best.items())
    )


# --- known answers


@pytest.mark.parametrize("method", ["gmt", "fgmt", "oracle"])
@pytest.mark.parametrize("trajectory", ["linear", "actual"])
def test_a_planted_permutation_is_found_and_the_source_comes_back(
    transfer: Any, copy: Trajectory, planted: Permutation, method: str, trajectory: str
) -> None:
    result = transfer(copy, method=method, trajectory=trajectory)
    assert result.permutation == planted
    assert close(result.last, copy.last)
    last = result.steps.iloc[-1]
    assert last["validation_accuracy"] == last["permuted_source_validation_accuracy"]
    assert last["test_accuracy"] == last["permuted_source_test_accuracy"]
    assert last["cosine_heldout"] == pytest.approx(1, abs=1e-4)


def test_the_objective_is_that_of_the_planted_permutation(
    transfer: Any, copy: Trajectory, source: Trajectory, planted: Permutation
) -> None:
    found = transfer(copy, method="oracle").steps["objective"]
    costs = PairCosts(planted.symmetry)
    costs.add(subtract(copy.last, copy.first), subtract(source.last, source.first))
    assert found[4] == pytest.approx(costs.objective(planted), rel=1e-5)


def test_without_a_change_of_initialisation_naive_is_the_source_itself(transfer: Any, source: Trajectory) -> None:
    result = transfer(source, method="naive", trajectory="actual")
    assert all(torch.equal(tensor, source.last[name]) for name, tensor in result.last.items())
    own = result.steps["permuted_source_validation_accuracy"]
    assert result.steps["validation_accuracy"].equals(own.rename("validation_accuracy"))
    assert result.steps["moved"].eq(0).all()


def test_gradient_matching_from_the_own_initialisation_stays_at_the_identity(transfer: Any, source: Trajectory) -> None:
    result = transfer(source, method="gmt")
    assert result.permutation.moved() == 0
    assert result.steps["cosine_matching"].iloc[1:].to_list() == pytest.approx([1.0] * 4)
    assert all(torch.equal(tensor, source.last[name]) for name, tensor in result.last.items())


@pytest.mark.parametrize("method", METHODS)
def test_the_last_point_is_the_target_plus_the_permuted_displacement(
    transfer: Any, other: Trajectory, source: Trajectory, method: str
) -> None:
    result = transfer(other, method=method)
    moved = result.permutation.apply(subtract(source.last, source.first))
    assert close(result.last, add(other.first, moved))


def test_the_control_is_the_accuracy_of_the_permuted_source(
    transfer: Any, other: Trajectory, source: Trajectory, model: nn.Module, digits: Dataset
) -> None:
    result = transfer(other, method="fgmt")
    permuted = result.permutation.apply(source.last)
    last = result.steps.iloc[-1]
    assert last["permuted_source_validation_accuracy"] == accuracy(permuted, model, digits.validation)
    assert last["permuted_source_test_accuracy"] == accuracy(permuted, model, digits.test)


def test_row_zero_is_the_targets_initialisation(
    transfer: Any, other: Trajectory, model: nn.Module, digits: Dataset
) -> None:
    row = transfer(other, method="naive").steps.iloc[0]
    assert (row["step"], row["fraction"], row["moved"], row["changed"]) == (0, 0, 0, 0)
    assert row["validation_accuracy"] == accuracy(other.first, model, digits.validation)
    assert math.isnan(row["objective"])


# --- laws


def test_gmt_and_fgmt_are_equal_to_the_bit_at_step_one_and_only_there(transfer: Any, other: Trajectory) -> None:
    gmt, fgmt = (transfer(other, method=method).steps for method in ("gmt", "fgmt"))
    assert gmt.iloc[:2].equals(fgmt.iloc[:2])
    assert not gmt.iloc[2:].equals(fgmt.iloc[2:])


@pytest.mark.parametrize("method", METHODS)
def test_a_transfer_repeats_to_the_bit_whatever_the_global_generator(
    transfer: Any, other: Trajectory, method: str
) -> None:
    first = transfer(other, method=method)
    state = torch.random.get_rng_state()
    torch.rand(3)
    assert same(first, transfer(other, method=method))
    torch.random.set_rng_state(state)


def test_the_seed_of_the_pair_matters(transfer: Any, other: Trajectory) -> None:
    assert not same(transfer(other, seed=0), transfer(other, seed=1))


def test_all_methods_see_the_same_batches(transfer: Any, other: Trajectory) -> None:
    # At step 1 the held-out gradients are those at both initialisations: the same for all methods.
    rows = [transfer(other, method=method).steps.iloc[1] for method in METHODS]
    assert len({row["cosine_identity"] for row in rows}) == 1
    assert len({row["cosine_null"] for row in rows}) == 1


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by one for every gradient."""
    calls: list[int] = []
    original = GradientOracle.gradient

    def gradient(self: GradientOracle, weights: Weights, batches: Any) -> Weights:
        drawn = list(batches)
        calls.append(len(drawn))
        return original(self, weights, drawn)

    monkeypatch.setattr(GradientOracle, "gradient", gradient)
    return calls


@pytest.mark.parametrize(
    ("method", "count"),
    [("gmt", 5 + 5 * 4 // 2 + 1), ("fgmt", 2 * 5), ("oracle", 0), ("naive", 0)],
)
def test_the_sources_gradients_are_computed_once(
    transfer: Any, other: Trajectory, counted: list[int], method: str, count: int
) -> None:
    transfer(other, method=method, steps=5, heldout_batches=0, batches=3)
    assert counted == [3] * count


def test_heldout_cosines_cost_two_gradients_a_step(transfer: Any, other: Trajectory, counted: list[int]) -> None:
    transfer(other, method="naive", steps=5, heldout_batches=2)
    assert counted == [2] * 10


def test_the_identity_start_forgets_and_the_previous_start_does_not_lose(transfer: Any, other: Trajectory) -> None:
    # With one group the problem is linear and both starts reach the optimum.
    one = transfer(other, method="fgmt", start_from="identity").steps
    two = transfer(other, method="fgmt", start_from="previous").steps
    assert one["objective"].to_list()[1:] == pytest.approx(two["objective"].to_list()[1:], rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_evidence_and_controls_never_change_the_answer(transfer: Any, other: Trajectory, method: str) -> None:
    full = transfer(other, method=method, heldout_batches=2)
    bare = transfer(other, method=method, heldout_batches=0, control="none")
    assert full.permutation == bare.permutation
    assert all(torch.equal(tensor, bare.last[name]) for name, tensor in full.last.items())


def test_snapshots_on_disk_are_as_good_as_those_in_memory(
    transfer: Any, source: Trajectory, other: Trajectory, tmp_path: Path
) -> None:
    source.save(tmp_path)
    stored = Trajectory.open(tmp_path)
    one, two = (transfer(other, source=run, method="gmt", trajectory="actual") for run in (source, stored))
    assert same(one, two)


def test_tied_parameters_move_together(digits: Dataset) -> None:
    def tied(seed: int) -> nn.Module:
        first, second = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)
        second.weight = first.weight
        network = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.ReLU(), nn.Linear(64, 10))
        generator = stream(seed, "init")
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8)
        return network

    start, end, target = (weights_of(tied(seed)) for seed in range(3))
    result = transfer_trajectory(
        Trajectory({Step(): start, Step(1): end}), target, model=tied(9), dataset=digits, method="fgmt", steps=2
    )
    assert torch.equal(result.last["1.weight"], result.last["3.weight"])
    moved = result.permutation.apply(subtract(end, start))
    assert close(result.last, add(target, moved))


# --- evidence


def test_the_table_has_its_columns_and_one_row_per_step(transfer: Any, other: Trajectory) -> None:
    table = transfer(other, method="gmt").steps
    assert tuple(table.columns) == COLUMNS
    assert table["step"].to_list() == [0, 1, 2, 3, 4]
    assert table["fraction"].to_list() == [0, 0.25, 0.5, 0.75, 1]
    assert table.iloc[1:].notna().all().all()


def test_matching_raises_the_objective_and_the_cosines_beat_the_null(transfer: Any, other: Trajectory) -> None:
    table = transfer(other, method="fgmt").steps.iloc[1:]
    assert (table["objective"] > table["objective_identity"]).all()
    assert (table["cosine_heldout"] > table["cosine_null"]).all()


def test_objective_and_cosines_at_step_one_are_those_of_the_gradients_at_both_initialisations(
    transfer: Any, other: Trajectory, source: Trajectory, model: nn.Module, digits: Dataset
) -> None:
    result = transfer(other, method="gmt", steps=1)
    drawn = BatchStream(digits, seed=0, batch_size=96)
    pairs = [
        [mean_gradient(model, weights, draw(0, 1)) for weights in (other.first, source.first)]
        for draw in (drawn.matching, drawn.heldout)
    ]
    (target, moved), (target_other, moved_other) = [(one, result.permutation.apply(two)) for one, two in pairs]
    row = result.steps.iloc[1]
    assert row["objective"] == pytest.approx(dot(target, moved), rel=1e-5)
    assert row["objective_identity"] == pytest.approx(dot(*pairs[0]), rel=1e-4)
    assert row["cosine_matching"] == pytest.approx(cosine(target, moved), rel=1e-5)
    assert row["cosine_heldout"] == pytest.approx(cosine(target_other, moved_other), rel=1e-5)
    assert row["cosine_identity"] == pytest.approx(cosine(*pairs[1]), rel=1e-4)


def test_naive_and_oracle_fit_nothing_to_gradients(transfer: Any, other: Trajectory) -> None:
    naive, oracle = (transfer(other, method=method).steps for method in ("naive", "oracle"))
    assert naive[["objective", "cosine_matching"]].isna().all().all()
    assert naive["sweeps"].eq(0).all()
    assert oracle["cosine_matching"].isna().all()
    assert oracle["solves"].to_list()[2:] == [0, 0, 0]
    assert oracle["objective"].iloc[1:].nunique() == 1
    assert oracle["changed"].to_list()[2:] == [0, 0, 0]


def test_changed_is_counted_from_the_step_before(transfer: Any, other: Trajectory) -> None:
    table = transfer(other, method="gmt").steps
    assert table["changed"][1] == table["moved"][1]


def test_the_best_step_is_the_first_maximum_on_validation_and_is_reported_on_test(
    transfer: Any, other: Trajectory, model: nn.Module, digits: Dataset
) -> None:
    result = transfer(other, method="fgmt", steps=8)
    validation = result.steps["validation_accuracy"]
    assert result.best_step == validation.iloc[1:].idxmax()
    assert result.best_validation_accuracy == validation.iloc[1:].max()
    assert result.test_accuracy == accuracy(result.best, model, digits.test)
    assert result.test_accuracy == result.steps["test_accuracy"][result.best_step]
    assert result.last_test_accuracy == accuracy(result.last, model, digits.test)


def test_what_was_not_asked_for_is_missing_and_costs_nothing(transfer: Any, other: Trajectory) -> None:
    table = transfer(other, method="fgmt", heldout_batches=0, control="none").steps
    assert table[["cosine_heldout", "cosine_null", "permuted_source_test_accuracy"]].isna().all().all()


def test_seconds_add_up(transfer: Any, other: Trajectory) -> None:
    result = transfer(other, method="gmt")
    parts = result.gradient_seconds + result.assignment_seconds + result.cost_seconds + result.evaluation_seconds
    assert 0 < parts <= result.total_seconds


# --- defects of the published code


def test_the_oracle_uses_the_whole_displacement_on_an_actual_trajectory(
    transfer: Any, other: Trajectory, source: Trajectory
) -> None:
    """The published code matched the first epoch only."""
    actual, linear = (transfer(other, method="oracle", trajectory=name) for name in ("actual", "linear"))
    assert actual.permutation == linear.permutation
    published = transfer(other, method="oracle", trajectory="actual", compat=True)
    costs = PairCosts(published.permutation.symmetry)
    costs.add(subtract(other.at("1ep"), other.first), subtract(source.at("1ep"), source.first))
    assert published.steps["objective"][1] == pytest.approx(costs.objective(published.permutation), rel=1e-6)
    assert costs.objective(published.permutation) >= costs.objective(actual.permutation)


def test_small_gradients_are_matched_as_well_as_large_ones(
    transfer: Any, copy: Trajectory, planted: Permutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published tolerance was absolute, so that small gains never counted."""
    original = GradientOracle.gradient

    def tiny(self: GradientOracle, weights: Weights, batches: Any) -> Weights:
        return {name: 1e-9 * tensor for name, tensor in original(self, weights, batches).items()}

    monkeypatch.setattr(GradientOracle, "gradient", tiny)
    assert transfer(copy, method="gmt", steps=1, heldout_batches=0).permutation == planted


def test_the_source_is_permuted_and_not_the_target(transfer: Any, other: Trajectory, source: Trajectory) -> None:
    """The published "matching loss" permuted the wrong side."""
    result = transfer(other, method="oracle")
    found, truth = subtract(source.last, source.first), subtract(other.last, other.first)
    right = cosine(truth, result.permutation.apply(found))
    assert right > cosine(result.permutation.apply(truth), found)
    assert right > cosine(truth, found)


# --- bad input


def test_the_oracle_without_the_targets_training_is_refused(transfer: Any, other: Trajectory) -> None:
    with pytest.raises(TrainingError, match="expected 'target_trajectory'"):
        transfer(other, method="oracle", target_trajectory=None)
    alone = Trajectory({other.steps[0]: other.first})
    with pytest.raises(TrainingError, match="of the target needs at least two snapshots"):
        transfer(other, method="oracle", target_trajectory=alone)


def test_an_untrained_source_is_refused(transfer: Any, other: Trajectory) -> None:
    with pytest.raises(TrainingError, match="of the source needs at least two snapshots"):
        transfer(other, source=Trajectory({other.steps[0]: other.first}))


def test_options_out_of_range_are_all_named(transfer: Any, other: Trajectory) -> None:
    with pytest.raises(TrainingError, match=r"'fgtm'\. Did you mean 'fgmt'\?.*batches is 0.*steps is -1"):
        transfer(other, method="fgtm", batches=0, steps=-1)


def test_weights_of_another_architecture_are_refused(transfer: Any, other: Trajectory) -> None:
    narrow = Trajectory({step: {"linear1.weight": torch.zeros(3, 64)} for step in other.steps})
    with pytest.raises(ModelError, match="different architectures"):
        transfer(narrow)
