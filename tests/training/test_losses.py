from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from weightscape.data.dataset import Dataset, Split
from weightscape.errors import DataError, Interrupted, ModelError, TrainingError
from weightscape.source import import_dotted
from weightscape.training.evaluation import evaluate
from weightscape.training.losses import Criterion
from weightscape.training.recipe import Recipe
from weightscape.training.run import train_model


def _criterion(loss: object) -> Criterion:
    return Criterion(Recipe.model_validate({"loss": loss}).loss)


def _logits(rows: int, classes: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30)
@given(rows=st.integers(1, 6), classes=st.integers(2, 5), smoothing=st.floats(0, 0.9), seed=st.integers(0, 99))
def test_label_smoothing_follows_its_formula_in_training_and_is_absent_from_evaluation(
    rows: int, classes: int, smoothing: float, seed: int
) -> None:
    logits, labels = _logits(rows, classes, seed), torch.arange(rows) % classes
    criterion = _criterion({"name": "cross-entropy", "label_smoothing": smoothing})
    logs = logits.log_softmax(1)
    hard = -logs[torch.arange(rows), labels]
    expected = ((1 - smoothing) * hard - smoothing * logs.mean(1)).mean()
    torch.testing.assert_close(criterion.training_loss(logits, labels), expected)
    torch.testing.assert_close(criterion.evaluation_loss(logits, labels), hard.sum())


def test_soft_labels_of_one_class_are_that_class() -> None:
    logits, labels = _logits(7, 4), torch.arange(7) % 4
    criterion, soft = _criterion("cross-entropy"), nn.functional.one_hot(labels, 4).double()
    torch.testing.assert_close(criterion.training_loss(logits, soft), criterion.training_loss(logits, labels))
    assert criterion.hits(logits, soft).tolist() == criterion.hits(logits, labels).tolist()


@settings(max_examples=30)
@given(share=st.floats(0, 1), seed=st.integers(0, 99))
def test_mixed_labels_weigh_the_losses_of_their_classes(share: float, seed: int) -> None:
    # Mixup: mean(-l log p[y] - (1 - l) log p[y']), and the chosen class is right to the extent of its share.
    logits, first, second = _logits(6, 5, seed), torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([1, 1, 0, 2, 3, 4])
    one_hot = [nn.functional.one_hot(labels, 5).double() for labels in (first, second)]
    mixed = share * one_hot[0] + (1 - share) * one_hot[1]
    criterion = _criterion("cross-entropy")
    parts = [criterion.training_loss(logits, labels) for labels in (first, second)]
    torch.testing.assert_close(criterion.training_loss(logits, mixed), share * parts[0] + (1 - share) * parts[1])
    hits = [criterion.hits(logits, labels).double() for labels in (first, second)]
    torch.testing.assert_close(criterion.hits(logits, mixed), share * hits[0] + (1 - share) * hits[1])


@pytest.mark.parametrize("loss", ["cross-entropy", {"name": "cross-entropy", "label_smoothing": 0.1}])
def test_saturated_logits_have_a_finite_loss_and_gradient(loss: object) -> None:
    # A published loss takes the logarithm of a softmax that has become 0, and is infinite or no number.
    logits = torch.tensor([[1000.0, 0.0, -1000.0]], requires_grad=True)
    shares = torch.tensor([[0.5, 0.25, 0.25]])
    value = _criterion(loss).training_loss(logits, shares)
    value.backward()
    smoothed = shares if loss == "cross-entropy" else 0.9 * shares + 0.1 / 3
    assert value.item() == pytest.approx(float(smoothed @ torch.tensor([0.0, 1000.0, 2000.0])))
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[1.0, 0.0, 0.0]]) - smoothed)


def test_several_labels_count_each_with_equal_weight() -> None:
    # arXiv 2110.14633 on CelebA: mean binary cross-entropy, accuracy over all labels of all images.
    logits, targets = _logits(5, 3), torch.tensor([[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0], [0, 1, 0]]).double()
    criterion = _criterion("binary-cross-entropy")
    chance = torch.sigmoid(logits)
    expected = -(targets * chance.log() + (1 - targets) * (1 - chance).log()).mean()
    torch.testing.assert_close(criterion.training_loss(logits, targets), expected)
    torch.testing.assert_close(criterion.evaluation_loss(logits, targets), 5 * expected)
    right = ((chance > 0.5) == targets.bool()).double().mean()
    torch.testing.assert_close(criterion.hits(logits, targets).mean(), right)


def test_one_class_against_the_rest_is_judged_by_the_largest_output() -> None:
    logits, labels = _logits(9, 4), torch.arange(9) % 4
    criterion, rest = _criterion("binary-cross-entropy"), nn.functional.one_hot(torch.arange(9) % 4, 4).double()
    torch.testing.assert_close(criterion.training_loss(logits, labels), criterion.training_loss(logits, rest))
    assert criterion.hits(logits, labels).tolist() == (logits.argmax(1) == labels).tolist()


OWN = """
from torch.nn import functional


def focal(logits, targets, *, gamma=2.0):
    losses = functional.cross_entropy(logits, targets, reduction="none")
    return (1 - (-losses).exp()) ** gamma * losses


def batch_mean(logits, targets):
    return functional.cross_entropy(logits, targets)


def overwriting(logits, targets):
    loss = functional.cross_entropy(logits, targets.clone())
    targets.zero_()
    return loss


def wrong(logits, targets):
    return logits
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_losses_of_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_losses_of_a_test"


def test_a_loss_of_ones_own_gets_its_arguments(own: str) -> None:
    logits, labels = _logits(8, 3), torch.arange(8) % 3
    plain = _criterion("cross-entropy").training_loss(logits, labels)
    torch.testing.assert_close(_criterion({"name": f"{own}.focal", "gamma": 0.0}).training_loss(logits, labels), plain)
    assert _criterion(f"{own}.focal").training_loss(logits, labels) < plain
    criterion = _criterion(f"{own}.batch_mean")
    torch.testing.assert_close(criterion.evaluation_loss(logits, labels), 8 * plain)


def test_mistakes_in_a_loss_of_ones_own_are_named(own: str) -> None:
    with pytest.raises(TrainingError, match=r"takes no argument 'gama'\. Did you mean 'gamma'"):
        _criterion({"name": f"{own}.focal", "gama": 1})
    with pytest.raises(TrainingError, match=r"one number, or one per image \(8,\), as a tensor; it returned \(8, 3\)"):
        _criterion(f"{own}.wrong").training_loss(_logits(8, 3), torch.arange(8) % 3)
    with pytest.raises(ModelError, match="cannot be imported"):
        _criterion(f"{own}.absent")


def test_a_loss_that_writes_over_its_targets_changes_neither_data_nor_accuracy(
    dataset: Dataset, linear: nn.Module, own: str
) -> None:
    labels = dataset.test.labels.clone()
    found = evaluate(linear, dataset.test, loss=import_dotted(f"{own}.overwriting"))
    assert found == evaluate(linear, dataset.test)
    recipe = {"epochs": 1, "loss": f"{own}.overwriting"}
    spoiled = train_model(linear, dataset, recipe=Recipe.model_validate(recipe), order_seed=0)
    usual = train_model(linear, dataset, recipe=Recipe.model_validate({"epochs": 1}), order_seed=0)
    assert (spoiled.test_accuracy, spoiled.train_accuracy) == (usual.test_accuracy, usual.train_accuracy)
    assert torch.equal(dataset.test.labels, labels)


def test_a_run_minimises_and_reports_the_loss_of_its_recipe(dataset: Dataset, linear: nn.Module, own: str) -> None:
    recipe = Recipe.model_validate({"epochs": 2, "batch_size": 16, "loss": {"name": f"{own}.focal", "gamma": 1.0}})
    result = train_model(linear, dataset, recipe=recipe, order_seed=0)
    linear.load_state_dict(result.trajectory.last)
    assert result.test_loss == evaluate(linear, dataset.test, criterion=Criterion(recipe.loss)).loss
    assert result.test_loss < evaluate(linear, dataset.test).loss
    assert result.test_loss < result.epochs["test_loss"][0]


def _several(split: Split) -> Split:
    """Return a split with a label for each channel: whether it is brighter than usual."""
    means = split.images.float().mean((2, 3))
    return replace(split, labels=(means > means.median()).float())


@pytest.fixture
def several_labels(plain_dataset: Dataset) -> Dataset:
    return replace(
        plain_dataset, **{name: _several(getattr(plain_dataset, name)) for name in ("train", "validation", "test")}
    )


def test_a_network_learns_several_labels(several_labels: Dataset, linear: nn.Module) -> None:
    recipe = Recipe.model_validate({"epochs": 30, "batch_size": 16, "loss": "binary-cross-entropy"})
    result = train_model(linear, several_labels, recipe=recipe, order_seed=0)
    assert result.test_accuracy > max(0.8, result.epochs["test_accuracy"][0])
    linear.load_state_dict(result.trajectory.last)
    measured = evaluate(linear, several_labels.test)
    assert (measured.loss, measured.accuracy) == (result.test_loss, result.test_accuracy)
    with torch.no_grad():
        images, labels = several_labels.test.normalised(), several_labels.test.labels
        by_image = ((linear(images) > 0) == labels.bool()).double().mean(1)
    # The labels of one image are not independent: images are what is sampled.
    assert result.test_accuracy == pytest.approx(by_image.mean().item())
    assert result.test_accuracy_stderr == pytest.approx(by_image.std(correction=0).item() / math.sqrt(len(labels)))


def test_several_labels_and_a_softmax_do_not_go_together(several_labels: Dataset, linear: nn.Module) -> None:
    with pytest.raises(DataError, match="loss: binary-cross-entropy"):
        train_model(linear, several_labels, recipe=Recipe(), order_seed=0)
    narrow = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    recipe = Recipe.model_validate({"loss": "binary-cross-entropy"})
    with pytest.raises(DataError, match="there are 3 labels per image"):
        train_model(narrow, several_labels, recipe=recipe, order_seed=0)


def test_an_evaluation_can_be_stopped(plain_dataset: Dataset, linear: nn.Module) -> None:
    with pytest.raises(Interrupted, match="evaluation was stopped"):
        evaluate(linear, plain_dataset.test, batch_size=10, should_stop=lambda: True)
    evaluate(linear, plain_dataset.test, batch_size=10, should_stop=lambda: False)


def test_a_run_that_is_stopped_in_an_evaluation_continues_to_the_same_bits(
    plain_dataset: Dataset, linear: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weightscape.training.ongoing.evaluate", _by_tens)
    recipe = Recipe(epochs=2, batch_size=16)
    through = train_model(linear, plain_dataset, recipe=recipe, order_seed=0)
    questions = 0
    while True:  # one question further each time: in the evaluations before, between and after the steps
        calls = iter(range(10_000))
        try:
            result = train_model(
                linear,
                plain_dataset,
                recipe=recipe,
                order_seed=0,
                resume=tmp_path / str(questions),
                should_stop=lambda: next(calls) >= questions,  # noqa: B023 (called within the loop)
            )
        except Interrupted:
            resumed = train_model(linear, plain_dataset, recipe=recipe, order_seed=0, resume=tmp_path / str(questions))
            assert resumed.epochs.equals(through.epochs)
            assert all(torch.equal(resumed.best[name], tensor) for name, tensor in through.best.items())
            questions += 1
            continue
        assert result.epochs.equals(through.epochs)
        assert questions > 8 + 3 * 3  # 8 steps, and at least 3 questions in each of 3 pairs of evaluations
        return


def _by_tens(model: nn.Module, split: Split, **options: object) -> object:
    return evaluate(model, split, batch_size=10, **options)  # type: ignore[arg-type]
