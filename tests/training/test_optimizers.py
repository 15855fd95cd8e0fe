from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from weightscape.training.optimizers import build_optimizer, optimizer_tensors, restore_optimizer, set_learning_rate
from weightscape.training.recipe import Adam, Sgd


def _parameter(layout: torch.memory_format) -> nn.Parameter:
    values = torch.randn(4, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return nn.Parameter(values.contiguous(memory_format=layout))


def _gradients(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, 2, 2, dtype=torch.float64, generator=generator) for _ in range(count)]


def _run(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradients: list[Tensor]) -> None:
    for gradient in gradients:
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
        optimizer.step()


LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_follows_its_formula(layout: torch.memory_format, nesterov: bool) -> None:
    lr, momentum, decay = 0.1, 0.9, 0.01
    parameter = _parameter(layout)
    expected, velocity = parameter.detach().clone(), torch.zeros(4, 3, 2, 2, dtype=torch.float64)
    settings = Sgd(name="sgd", lr=lr, momentum=momentum, weight_decay=decay, nesterov=nesterov)
    _run(build_optimizer(settings, [parameter]), parameter, _gradients(4))
    for gradient in _gradients(4):
        gradient = gradient + decay * expected
        velocity = momentum * velocity + gradient
        expected = expected - lr * (gradient + momentum * velocity if nesterov else velocity)
    torch.testing.assert_close(parameter.detach(), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_adam_follows_its_formula(layout: torch.memory_format) -> None:
    lr, (beta1, beta2), decay = 0.01, (0.9, 0.99), 0.1
    parameter = _parameter(layout)
    expected = parameter.detach().clone()
    first, second = torch.zeros_like(expected), torch.zeros_like(expected)
    settings = Adam(name="adam", lr=lr, betas=(beta1, beta2), weight_decay=decay)
    _run(build_optimizer(settings, [parameter]), parameter, _gradients(4))
    for step, gradient in enumerate(_gradients(4), start=1):
        gradient = gradient + decay * expected
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        scale = (second / (1 - beta2**step)).sqrt() + 1e-8
        expected = expected - lr * first / (1 - beta1**step) / scale
    torch.testing.assert_close(parameter.detach(), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("settings", [Sgd(name="sgd"), Sgd(name="sgd", momentum=0.0), Adam(name="adam")])
def test_a_restored_optimizer_continues_to_the_bit(settings: Sgd | Adam, layout: torch.memory_format) -> None:
    gradients = _gradients(6)
    through = _parameter(layout)
    _run(build_optimizer(settings, [through]), through, gradients)

    stopped = _parameter(layout)
    before = build_optimizer(settings, [stopped])
    _run(before, stopped, gradients[:3])
    saved = {name: tensor.contiguous() for name, tensor in optimizer_tensors(before).items()}
    after = build_optimizer(settings, [stopped])
    restore_optimizer(after, saved)
    _run(after, stopped, gradients[3:])
    assert torch.equal(through, stopped)


def test_frozen_parameters_are_left_out() -> None:
    frozen, trained = nn.Parameter(torch.ones(2), requires_grad=False), nn.Parameter(torch.ones(2))
    optimizer = build_optimizer(Sgd(name="sgd"), [frozen, trained])
    assert [parameter is trained for group in optimizer.param_groups for parameter in group["params"]] == [True]


def test_the_learning_rate_is_set_for_all_parameters() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer(Sgd(name="sgd", lr=1.0, momentum=0.0), [parameter])
    set_learning_rate(optimizer, 0.25)
    parameter.grad = torch.ones(1)
    optimizer.step()
    assert parameter.item() == -0.25
