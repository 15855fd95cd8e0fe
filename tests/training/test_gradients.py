from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from weightscape.data.dataset import Dataset
from weightscape.errors import ModelError, TrainingError
from weightscape.training.gradients import GradientOracle, mean_gradient
from weightscape.weights.algebra import Weights, parameters_of, weights_of

Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture
def batches(dataset: Dataset) -> Batches:
    return list(dataset.train.epoch(16, seed=0, epoch=0))[:3]


@pytest.fixture
def model(convolutional: nn.Module) -> nn.Module:
    """Batch norm and a tied weight; dropout is off in gradients, so it is off in the reference."""
    convolutional[6].p = 0.0
    return convolutional


def _elsewhere(model: nn.Module, seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    weights = weights_of(model)
    moved = {
        name: tensor + 0.1 * torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }
    moved["8.weight"] = moved["5.weight"]
    return moved


def _autograd(model: nn.Module, weights: Weights, batches: Batches) -> Weights:
    duplicate = copy.deepcopy(model).train()
    duplicate.load_state_dict(weights)
    losses = [functional.cross_entropy(duplicate(images), labels) for images, labels in batches]
    names, parameters = zip(*duplicate.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(sum(losses) / len(losses), parameters), strict=True))


def test_equals_autograd_on_a_plain_copy(model: nn.Module, batches: Batches) -> None:
    weights = _elsewhere(model, 1)
    expected = _autograd(model, weights, batches)
    found = mean_gradient(model, weights, batches)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])


def test_equals_autograd_to_the_bit_where_the_memory_layout_is_the_same(linear: nn.Module, batches: Batches) -> None:
    weights = weights_of(linear)
    expected = _autograd(linear, weights, batches[:1])
    found = mean_gradient(linear, weights, batches[:1])
    assert all(torch.equal(gradient, expected[name]) for name, gradient in found.items())


def test_is_the_mean_of_the_gradients_of_the_batches(model: nn.Module, batches: Batches) -> None:
    oracle, weights = GradientOracle(model), weights_of(model)
    together = oracle.gradient(weights, batches)
    alone = [oracle.gradient(weights, [batch]) for batch in batches]
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, sum(one[name] for one in alone) / len(alone))


def test_batches_are_read_one_after_the_other(model: nn.Module, batches: Batches) -> None:
    oracle, weights = GradientOracle(model), weights_of(model)
    whole, streamed = oracle.gradient(weights, batches), oracle.gradient(weights, iter(batches))
    assert all(torch.equal(gradient, streamed[name]) for name, gradient in whole.items())


def test_a_call_does_not_depend_on_the_calls_before(model: nn.Module, batches: Batches) -> None:
    oracle = GradientOracle(model)
    first = oracle.gradient(_elsewhere(model, 1), batches)
    kept = {name: gradient.clone() for name, gradient in first.items()}
    oracle.gradient(_elsewhere(model, 2), batches[:1])
    oracle.gradient(parameters_of(model), batches[:1])
    again = oracle.gradient(_elsewhere(model, 1), batches)
    assert all(torch.equal(gradient, first[name]) for name, gradient in again.items())
    assert all(torch.equal(gradient, first[name]) for name, gradient in kept.items())


def test_neither_model_nor_weights_nor_running_statistics_change(model: nn.Module, batches: Batches) -> None:
    model.eval()
    weights = _elsewhere(model, 1)
    before, given = weights_of(model), {name: tensor.clone() for name, tensor in weights.items()}
    oracle = GradientOracle(model)
    oracle.gradient(weights, batches)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(tensor, given[name]) for name, tensor in weights.items())
    statistics = oracle.gradient(weights, batches), _autograd(model, given, batches)
    torch.testing.assert_close(statistics[0]["0.weight"], statistics[1]["0.weight"])


def test_batch_norm_uses_the_statistics_of_the_batch(model: nn.Module, batches: Batches) -> None:
    weights = weights_of(model)
    other = {**weights, "1.running_mean": weights["1.running_mean"] + 5, "1.running_var": weights["1.running_var"] * 9}
    one, two = mean_gradient(model, weights, batches), mean_gradient(model, other, batches)
    assert all(torch.equal(gradient, two[name]) for name, gradient in one.items())


def test_dropout_is_off_and_the_global_generator_untouched(convolutional: nn.Module, batches: Batches) -> None:
    state = torch.get_rng_state()
    weights = weights_of(convolutional)
    one, two = (mean_gradient(convolutional, weights, batches) for _ in range(2))
    assert all(torch.equal(gradient, two[name]) for name, gradient in one.items())
    assert torch.equal(state, torch.get_rng_state())


def test_gradients_have_the_ordinary_memory_layout(model: nn.Module, batches: Batches) -> None:
    assert all(gradient.is_contiguous() for gradient in mean_gradient(model, weights_of(model), batches).values())


def test_parameters_without_part_in_the_loss_have_a_zero_gradient(linear: nn.Module, batches: Batches) -> None:
    linear.register_parameter("unused", nn.Parameter(torch.ones(2)))
    linear[1].bias.requires_grad_(False)
    gradient = mean_gradient(linear, weights_of(linear), batches)
    assert torch.equal(gradient["unused"], torch.zeros(2))
    assert gradient["1.bias"].abs().sum() > 0


def test_wrong_input_is_explained(linear: nn.Module, batches: Batches) -> None:
    weights = weights_of(linear)
    with pytest.raises(TrainingError, match="at least one batch"):
        mean_gradient(linear, weights, iter([]))
    with pytest.raises(ModelError, match=r"1\.bias missing"):
        mean_gradient(linear, {"1.weight": weights["1.weight"]}, batches)
    with pytest.raises(ModelError, match=r"1\.bias is \(1,\)"):
        mean_gradient(linear, {**weights, "1.bias": weights["1.bias"][:1]}, batches)
