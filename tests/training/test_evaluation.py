from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import nn

from weightscape.data.dataset import Dataset
from weightscape.errors import DataError
from weightscape.training.evaluation import evaluate
from weightscape.weights.algebra import weights_of


@pytest.mark.oracle
def test_agrees_with_scikit_learn(dataset: Dataset, linear: nn.Module) -> None:
    evaluation = evaluate(linear, dataset.test)
    probabilities = linear(dataset.test.normalised()).detach().double().softmax(1)
    assert evaluation.loss == pytest.approx(log_loss(dataset.test.labels, probabilities), rel=1e-5)
    assert evaluation.accuracy == accuracy_score(dataset.test.labels, probabilities.argmax(1))
    assert evaluation.count == 30


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes(dataset: Dataset, linear: nn.Module) -> None:
    for parameter in linear.parameters():
        nn.init.zeros_(parameter)
    assert evaluate(linear, dataset.test).loss == pytest.approx(torch.tensor(3.0).log().item())


@pytest.mark.parametrize("batch_size", [1, 7, 29, 30, 1000])
def test_the_batch_size_does_not_matter(dataset: Dataset, convolutional: nn.Module, batch_size: int) -> None:
    # The mean of batch means, for one, would depend on it: the last batch is smaller.
    whole, parts = evaluate(convolutional, dataset.test), evaluate(convolutional, dataset.test, batch_size=batch_size)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    assert parts.accuracy == whole.accuracy


def test_the_standard_error_is_that_of_a_binomial_share(dataset: Dataset, linear: nn.Module) -> None:
    evaluation = evaluate(linear, dataset.train)
    draws = torch.bernoulli(torch.full((4000, 50), evaluation.accuracy), generator=torch.Generator().manual_seed(0))
    assert evaluation.accuracy_stderr == pytest.approx(draws.mean(1).std().item(), rel=0.05)


def test_the_model_is_left_as_it_was(dataset: Dataset, convolutional: nn.Module) -> None:
    convolutional.train()
    convolutional[1].eval()
    before = weights_of(convolutional)
    evaluate(convolutional, dataset.test)
    assert convolutional.training
    assert not convolutional[1].training
    assert convolutional[6].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in convolutional.state_dict().items())
    assert convolutional[0].weight.is_contiguous()


def test_the_mode_is_restored_after_an_error(dataset: Dataset) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(5, 3)).train()
    with pytest.raises(RuntimeError):
        evaluate(model, dataset.test)
    assert model[1].training


def test_too_few_classes_are_explained(dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"logits \(n, 3\)"):
        evaluate(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), dataset.test)


def test_an_empty_split_is_refused(dataset: Dataset, linear: nn.Module) -> None:
    split = dataset.test
    empty = replace(split, images=split.images[:0], labels=split.labels[:0], indices=split.indices[:0])
    with pytest.raises(DataError, match="empty split"):
        evaluate(linear, empty)
