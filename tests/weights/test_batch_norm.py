import copy

import pytest
import torch
from torch import nn

from weightscape.errors import ModelError
from weightscape.weights.batch_norm import batch_norms, recalibrate


def batches(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, 3, 4, 4, generator=generator) * (size + 1) + size for size in sizes]


def network():
    return nn.Sequential(
        nn.BatchNorm2d(3), nn.Conv2d(3, 5, 3), nn.ReLU(), nn.BatchNorm2d(5, momentum=0.3), nn.Flatten()
    )


def modes(model):
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("sizes", [(6,), (4, 4, 4), (2, 7, 5)])
def test_statistics_are_the_mean_over_the_batches_of_each_batchs_own(sizes):
    model, inputs = network(), batches(*sizes)
    assert recalibrate(model, inputs) == len(sizes)
    first = model[0]
    torch.testing.assert_close(first.running_mean, torch.stack([batch.mean((0, 2, 3)) for batch in inputs]).mean(0))
    variances = [batch.transpose(0, 1).flatten(1).var(1, unbiased=True) for batch in inputs]
    torch.testing.assert_close(first.running_var, torch.stack(variances).mean(0))
    assert first.num_batches_tracked == len(sizes)


def test_later_layers_see_inputs_normalised_by_their_own_batch():
    model, inputs = network(), batches(3, 5)
    recalibrate(model, inputs)
    with torch.no_grad():
        hidden = [model[1](nn.functional.batch_norm(batch, None, None, training=True)).relu() for batch in inputs]
    means = torch.stack([batch.mean((0, 2, 3)) for batch in hidden]).mean(0)
    torch.testing.assert_close(model[3].running_mean, means)


def test_what_the_statistics_were_does_not_matter():
    fresh, stale = network(), network()
    stale.load_state_dict(fresh.state_dict())
    recalibrate(stale, batches(50, seed=1))
    for model in (fresh, stale):
        recalibrate(model, batches(4, 4))
    torch.testing.assert_close(stale.state_dict(), fresh.state_dict(), rtol=0, atol=0)


def test_momenta_modes_and_parameters_are_restored():
    model = network()
    model[1].eval()
    model[3].eval()
    before, parameters = modes(model), copy.deepcopy(dict(model.named_parameters()))
    recalibrate(model, batches(4))
    assert [layer.momentum for layer in batch_norms(model)] == [0.1, 0.3]
    assert modes(model) == before
    torch.testing.assert_close(dict(model.named_parameters()), parameters, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_dropout_does_not_disturb_the_statistics():
    layers = list(network())
    plain, noisy = nn.Sequential(*layers), nn.Sequential(nn.Dropout(0.9), *copy.deepcopy(layers)).train()
    generator = torch.get_rng_state()
    recalibrate(plain, batches(4))
    recalibrate(noisy, batches(4))
    assert torch.equal(torch.get_rng_state(), generator)
    torch.testing.assert_close(noisy[1].state_dict(), plain[0].state_dict(), rtol=0, atol=0)


def test_a_failing_pass_leaves_the_model_as_it_was():
    model = network().eval()
    recalibrate(model, batches(9))
    before = copy.deepcopy(model.state_dict())

    def broken():
        yield from batches(4)
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        recalibrate(model, broken())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert [layer.momentum for layer in batch_norms(model)] == [0.1, 0.3]
    assert not any(modes(model))


def test_no_batches_are_an_error_rather_than_a_reset_model():
    model = network()
    recalibrate(model, batches(9))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ModelError, match="at least one batch"):
        recalibrate(model, [])
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_model_without_batch_norm_costs_nothing():
    def unread():
        raise AssertionError("the inputs were read")
        yield

    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.BatchNorm1d(2, track_running_stats=False))
    assert recalibrate(model, unread()) == 0
