from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from weightscape.data.dataset import Dataset, Split
from weightscape.errors import DataError, Interrupted, TrainingError
from weightscape.step import Step
from weightscape.training.evaluation import evaluate
from weightscape.training.recipe import Adam, Cosine, Recipe, Sgd
from weightscape.training.run import train_model
from weightscape.weights.algebra import Weights, weights_of

RECIPE = Recipe(epochs=3, batch_size=16, optimizer=Sgd(name="sgd", lr=0.1), schedule=Cosine(name="cosine"))


def _equal(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def _plain_loop(model: nn.Module, dataset: Dataset, *, recipe: Recipe, order_seed: int, lr: list[float]) -> Weights:
    """Train as a PyTorch tutorial would."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr[0], momentum=0.9)
    model.train()
    for epoch in range(recipe.epochs):
        optimizer.param_groups[0]["lr"] = lr[epoch]
        augment = dataset.settings.augment
        for images, labels in dataset.train.epoch(recipe.batch_size, seed=order_seed, epoch=epoch, augment=augment):
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    return weights_of(model)


def test_does_what_a_plain_loop_does(dataset: Dataset, convolutional: nn.Module) -> None:
    convolutional[6].p = 0.0
    result = train_model(convolutional, dataset, recipe=RECIPE, order_seed=4)
    expected = _plain_loop(convolutional, dataset, recipe=RECIPE, order_seed=4, lr=[0.1, 0.075, 0.025])
    for name, tensor in result.trajectory.last.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)
    assert int(result.trajectory.last["1.num_batches_tracked"]) == 12


def test_learns(plain_dataset: Dataset, linear: nn.Module) -> None:
    result = train_model(linear, plain_dataset, recipe=RECIPE.model_copy(update={"epochs": 20}), order_seed=0)
    assert result.epochs["validation_accuracy"][0] < 0.7
    assert result.validation_accuracy > 0.9
    assert result.test_loss < result.epochs["test_loss"][0]


def test_the_caller_keeps_the_model_and_the_global_generator(dataset: Dataset, convolutional: nn.Module) -> None:
    convolutional.eval()
    before, state = weights_of(convolutional), torch.get_rng_state()
    train_model(convolutional, dataset, recipe=RECIPE, order_seed=0)
    assert _equal(convolutional.state_dict(), before)
    assert not convolutional.training
    assert all(parameter.grad is None for parameter in convolutional.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_repeats_to_the_bit_with_dropout_whatever_the_global_generator_did(
    dataset: Dataset, convolutional: nn.Module
) -> None:
    first = train_model(convolutional, dataset, recipe=RECIPE, order_seed=1)
    torch.rand(17)
    second = train_model(convolutional, dataset, recipe=RECIPE, order_seed=1)
    other = train_model(convolutional, dataset, recipe=RECIPE, order_seed=2)
    assert _equal(first.trajectory.last, second.trajectory.last)
    assert first.epochs.equals(second.epochs)
    assert not _equal(first.trajectory.last, other.trajectory.last)


def test_the_table_begins_before_training(dataset: Dataset, linear: nn.Module) -> None:
    table = train_model(linear, dataset, recipe=RECIPE, order_seed=0).epochs
    start = evaluate(linear, dataset.validation)
    assert list(table["epoch"]) == [0, 1, 2, 3]
    assert table["validation_loss"][0] == start.loss
    assert table["validation_accuracy"][0] == start.accuracy
    assert table.loc[0, ["lr", "train_loss", "train_accuracy"]].isna().all()
    assert table.loc[1:].notna().all(axis=None)
    assert list(table["lr"][1:]) == pytest.approx([0.1, 0.075, 0.025])


def test_rows_are_evaluations_of_the_snapshots_on_their_splits(dataset: Dataset, linear: nn.Module) -> None:
    result = train_model(linear, dataset, recipe=RECIPE, order_seed=0, keep="epochs")
    for snapshot, (_, row) in zip(result.trajectory, result.epochs.iterrows(), strict=True):
        linear.load_state_dict(snapshot.weights)
        assert snapshot.step == Step(int(row["epoch"]))
        assert row["validation_loss"] == evaluate(linear, dataset.validation).loss
        assert row["test_loss"] == evaluate(linear, dataset.test).loss
        assert row["test_accuracy"] == evaluate(linear, dataset.test).accuracy
    assert result.test_accuracy_stderr == evaluate(linear, dataset.test).accuracy_stderr
    assert result.validation_loss == evaluate(linear, dataset.validation).loss


def test_train_loss_is_the_mean_over_the_samples_of_its_epoch(plain_dataset: Dataset, linear: nn.Module) -> None:
    # The published code divides the sum of an epoch by all iterations since initialisation, so that its loss falls as
    # 1 / epoch even if nothing is learnt; and the last batch (2 of 16) must not weigh as much as a full one.
    recipe = Recipe(epochs=3, batch_size=16, optimizer=Sgd(name="sgd", lr=1e-12))
    table = train_model(linear, plain_dataset, recipe=recipe, order_seed=0).epochs
    still = evaluate(linear, plain_dataset.train)
    assert list(table["train_loss"][1:]) == pytest.approx([still.loss] * 3, rel=1e-6)
    assert list(table["train_accuracy"][1:]) == [still.accuracy] * 3


def test_snapshots_within_epochs_are_those_of_the_plain_loop(dataset: Dataset, linear: nn.Module) -> None:
    keep = tuple(map(Step.parse, ("0ep", "2it", "1ep", "5it", "2ep3it")))
    trajectory = train_model(linear, dataset, recipe=RECIPE, order_seed=0, keep=keep).trajectory
    assert [str(step) for step in trajectory.steps] == ["0ep", "2it", "1ep", "1ep1it", "2ep3it"]
    assert _equal(trajectory.at("5it"), trajectory.at("1ep1it"))
    assert _equal(trajectory.first, weights_of(linear))

    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1, momentum=0.9)
    batches = dataset.train.epoch(16, seed=0, epoch=0, augment="pad-crop-flip")
    for images, labels in [next(batches), next(batches)]:
        optimizer.zero_grad()
        functional.cross_entropy(linear(images), labels).backward()
        optimizer.step()
    for name, tensor in trajectory.at("2it").items():
        torch.testing.assert_close(tensor, linear.state_dict()[name])


def test_a_step_beyond_the_run_is_an_error_before_training_starts(dataset: Dataset, linear: nn.Module) -> None:
    calls: list[int] = []
    with pytest.raises(TrainingError, match="3ep1it"):
        train_model(
            linear,
            dataset,
            recipe=RECIPE,
            order_seed=0,
            keep=(Step(3, 1),),
            on_epoch=lambda done, total, row: calls.append(done),
        )
    assert calls == []


def test_a_run_of_no_epochs_is_its_initialisation(dataset: Dataset, linear: nn.Module) -> None:
    result = train_model(linear, dataset, recipe=Recipe(epochs=0), order_seed=0)
    assert _equal(result.trajectory.last, weights_of(linear))
    assert len(result.epochs) == 1
    assert result.train_loss is None
    assert result.test_accuracy == evaluate(linear, dataset.test).accuracy


def test_no_memory_layout_leaks_into_what_is_kept(dataset: Dataset, convolutional: nn.Module) -> None:
    trajectory = train_model(convolutional, dataset, recipe=RECIPE, order_seed=0).trajectory
    assert all(tensor.is_contiguous() for snapshot in trajectory for tensor in snapshot.weights.values())


def test_frozen_parameters_stay(dataset: Dataset, linear: nn.Module) -> None:
    linear[1].bias.requires_grad_(False)
    last = train_model(linear, dataset, recipe=RECIPE, order_seed=0).trajectory.last
    assert torch.equal(last["1.bias"], linear[1].bias)
    assert not torch.equal(last["1.weight"], linear[1].weight)


def test_tied_parameters_stay_tied(dataset: Dataset, convolutional: nn.Module) -> None:
    last = train_model(convolutional, dataset, recipe=RECIPE, order_seed=0).trajectory.last
    assert torch.equal(last["5.weight"], last["8.weight"])


def test_adam_and_multistep_run_through(dataset: Dataset, convolutional: nn.Module) -> None:
    recipe = Recipe.model_validate(
        {
            "epochs": 2,
            "batch_size": 16,
            "optimizer": Adam(name="adam", lr=0.01),
            "schedule": {"name": "multistep", "milestones": [1]},
        }
    )
    table = train_model(convolutional, dataset, recipe=recipe, order_seed=0).epochs
    assert list(table["lr"][1:]) == pytest.approx([0.01, 0.001])


def test_divergence_names_epoch_and_learning_rate(dataset: Dataset, linear: nn.Module) -> None:
    recipe = Recipe(epochs=5, batch_size=16, optimizer=Sgd(name="sgd", lr=1e38))
    with pytest.raises(TrainingError, match=r"(nan|inf) in epoch \d of 5, at a learning rate of 1e\+38"):
        train_model(linear, dataset, recipe=recipe, order_seed=0)


def test_divergence_is_seen_within_a_long_epoch(dataset: Dataset, linear: nn.Module) -> None:
    seen: list[int] = []

    class Long(Split):
        def epoch(self, batch_size: int, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
            for count in range(100_000):
                seen.append(count)
                yield self.normalised(slice(16)) * math.nan, self.labels[:16]

    train = Long(**vars(dataset.train))
    with pytest.raises(TrainingError, match="nan in epoch 1"):
        train_model(linear, replace(dataset, train=train), recipe=Recipe(epochs=1), order_seed=0)
    assert len(seen) < 1000


def test_progress_is_reported_from_before_the_first_epoch(dataset: Dataset, linear: nn.Module) -> None:
    calls: list[tuple[int, int, Any]] = []
    result = train_model(
        linear, dataset, recipe=RECIPE, order_seed=0, on_epoch=lambda *call: calls.append((call[0], call[1], call[2]))
    )
    assert [call[:2] for call in calls] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [call[2]["test_loss"] for call in calls] == list(result.epochs["test_loss"])


def test_stopping_is_asked_for_before_every_step(dataset: Dataset, linear: nn.Module) -> None:
    questions = iter([False] * 6 + [True])
    with pytest.raises(Interrupted, match="1ep2it; without a resume folder"):
        train_model(linear, dataset, recipe=RECIPE, order_seed=0, should_stop=lambda: next(questions))


def test_an_empty_training_split_is_refused(dataset: Dataset, linear: nn.Module) -> None:
    split = dataset.train
    empty = replace(split, images=split.images[:0], labels=split.labels[:0], indices=split.indices[:0])
    with pytest.raises(DataError, match="empty training split"):
        train_model(linear, replace(dataset, train=empty), recipe=RECIPE, order_seed=0)
