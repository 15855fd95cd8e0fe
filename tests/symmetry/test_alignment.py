from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import weightscape as ws
from tests.landscape.conftest import SmallNet, mlp, shuffled_copy
from weightscape.errors import DataError, ModelError, SymmetryError
from weightscape.symmetry.examples import example_inputs


def shuffled(network: nn.Module, example: torch.Tensor) -> nn.Module:
    other = copy.deepcopy(network)
    other.load_state_dict(shuffled_copy(network, example)[0])
    return other


@pytest.mark.parametrize("method", ["weights", "activations"])
def test_a_shuffled_copy_is_brought_back_exactly(method: str) -> None:
    network = SmallNet(0)
    inputs = torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(5))
    other = shuffled(network, inputs)
    pi = ws.match(network, other, [inputs], method=method)
    permuted = pi.apply(network.state_dict())
    assert all(torch.equal(tensor, permuted[name]) for name, tensor in other.state_dict().items())
    assert pi.cosine == pytest.approx(1)
    assert pi.cosine_before < 0.99
    assert pi.groups["cosine"].tolist() == pytest.approx([1.0] * len(pi.groups))
    assert pi.verify(network).largest_error < 1e-9


def test_the_first_network_moves_and_the_second_stays() -> None:
    network, example = mlp(0), torch.zeros(2, 5)
    weights, order = shuffled_copy(network, example, seed=3)
    there = ws.match(network, {name: tensor.clone() for name, tensor in weights.items()})
    assert there.permutation == order
    back = ws.match(weights, network)
    assert back.permutation == order.inverse()


def test_the_aligned_network_is_a_copy_with_the_same_function() -> None:
    network, other = SmallNet(0).train(), SmallNet(1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    pi = ws.match(network, other)
    aligned = pi.aligned(network)
    inputs = torch.randn(8, 1, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(aligned.eval()(inputs), copy.deepcopy(network).eval()(inputs))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert network.training
    assert pi.moved > 0
    assert "cosine" in repr(pi)
    assert list(pi.to_frame()["group"]) == list(pi.permutation.symmetry.names)


def test_networks_of_different_architectures_are_refused() -> None:
    with pytest.raises(ModelError, match="different architectures"):
        ws.match(mlp(0), mlp(0, hidden=8))
    with pytest.raises(ModelError, match="model="):
        ws.match(mlp(0).state_dict(), mlp(1).state_dict())
    with pytest.raises(ModelError, match="list"):
        ws.match(mlp(0), [mlp(1)])  # type: ignore[arg-type]


def test_activations_need_batches_and_methods_are_named() -> None:
    with pytest.raises(SymmetryError, match="batches"):
        ws.match(mlp(0), mlp(1), method="activations")
    with pytest.raises(SymmetryError, match="'weigths'"):
        ws.match(mlp(0), mlp(1), method="weigths")  # type: ignore[arg-type]
    with pytest.raises(DataError):
        ws.match(mlp(0), mlp(1), [], method="activations")


def test_a_network_whose_inputs_cannot_be_told_asks_for_an_example() -> None:
    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return self.two(torch.relu(self.one(left + right)))

    with pytest.raises(SymmetryError, match="example="):
        ws.match(Summed(), Summed())
    given = (torch.zeros(2, 4), torch.zeros(2, 4))
    assert len(ws.match(Summed(), Summed(), example=given).groups) == 1


@pytest.mark.parametrize(("name", "shape"), [("mlp", (1, 28, 28)), ("conv4", (3, 32, 32)), ("tiny10", (3, 32, 32))])
def test_inputs_of_bundled_networks_are_found_by_trying(name: str, shape: tuple[int, int, int]) -> None:
    network = ws.build_model(name, shape=shape, classes=10).train()
    given = example_inputs(network)
    assert isinstance(given, torch.Tensor)
    assert network.training
    expected = ws.discover(network, torch.zeros(2, *shape))
    assert ws.discover(network, given).groups == expected.groups


def test_an_example_kept_by_the_module_or_taken_from_batches_comes_first() -> None:
    network = mlp(0)
    network.example_input_array = torch.ones(1, 5)
    assert torch.equal(example_inputs(network), torch.ones(2, 5))
    (inputs,) = example_inputs(network, [(torch.full((7, 5), 3.0), torch.zeros(7))])
    assert torch.equal(inputs, torch.full((2, 5), 3.0))
