"""Linear CKA of all pairs of layers in one pass: the same numbers as pair by pair, from nothing but products."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from weightscape.errors import DataError
from weightscape.similarity.capture import capture
from weightscape.similarity.computing import of_activations
from weightscape.similarity.measure import UndefinedMeasure, find_measure
from weightscape.similarity.measures.minibatch_cka import StreamedCka
from weightscape.similarity.streamed_cka import streamed_cka, unbiased_gram


def network(seed: int, *, inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=inplace), nn.Flatten(), nn.Linear(6 * 36, 5)
    )


def images(count: int = 60) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def test_every_pair_has_the_value_of_the_measure_on_these_two_layers() -> None:
    first, second, batches = network(0), network(1), list(images().split(20))
    table = streamed_cka(first, second, batches)
    assert table.first_layers == table.second_layers == ("0", "1", "2", "3", "4")
    assert table.count == 60
    one, other = (capture(model, batches, "all") for model in (first, second))
    for row, left in enumerate(table.first_layers):
        for column, right in enumerate(table.second_layers):
            stream = StreamedCka()
            for start in range(0, 60, 20):
                stream.add(one[left][start : start + 20], other[right][start : start + 20])
            assert float(table.values[row, column]) == pytest.approx(stream.result(), abs=1e-6)


@pytest.mark.oracle
def test_an_independent_library_gives_the_same_in_double_precision() -> None:
    cka = pytest.importorskip("torch_cka").CKA
    first, second = (network(seed).double() for seed in (0, 1))
    layers, seen = ["0", "1", "2", "4"], images().double()
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # it makes vectors of ones of the default type
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            theirs = cka(first, second, "one", "other", layers, layers)
            theirs.compare(DataLoader(TensorDataset(seen), batch_size=20))
    finally:
        torch.set_default_dtype(previous)
    ours = streamed_cka(first, second, list(seen.split(20)), layers=layers)
    torch.testing.assert_close(ours.values, theirs.hsic_matrix, rtol=0, atol=1e-10)


def test_single_precision_costs_no_digits_that_matter() -> None:
    exact = streamed_cka(network(0).double(), network(1).double(), list(images().double().split(20)))
    single = streamed_cka(network(0), network(1), list(images().split(20)))
    torch.testing.assert_close(single.values, exact.values, rtol=0, atol=1e-6)


def test_a_large_mean_costs_no_digits() -> None:
    rows = torch.randn(30, 50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(unbiased_gram(rows + 1000), unbiased_gram(rows.double()), rtol=1e-3, atol=1e-2)


def test_an_operation_in_place_does_not_change_what_is_compared() -> None:
    usual, inplace = network(0), network(0, inplace=True)
    batches = list(images().split(20))
    assert torch.equal(streamed_cka(usual, usual, batches).values, streamed_cka(inplace, inplace, batches).values)


def test_an_undivided_set_gives_the_debiased_estimate() -> None:
    first, second = network(0), network(1)
    table = streamed_cka(first, second, [images()], layers="2", second_layers="4")
    x, y = capture(first, [images()], "2")["2"], capture(second, [images()], "4")["4"]
    measure = find_measure("linear-cka-debiased")
    assert float(table.values) == pytest.approx(of_activations(measure, x, y), abs=1e-6)


def test_batches_of_other_sizes_count_by_their_samples() -> None:
    first, second = network(0), network(1)
    batches = list(images().split([40, 20]))
    table = streamed_cka(first, second, batches, layers="0", second_layers="1")
    stream = StreamedCka()
    for batch in batches:
        with torch.no_grad():
            stream.add(first[0](batch).flatten(1), second.eval()[:2](batch).flatten(1))
    assert float(table.values) == pytest.approx(stream.result(), abs=1e-6)


def test_hooks_and_modes_are_as_before_even_after_an_error() -> None:
    first, second = network(0).train(), network(1).train()
    streamed_cka(first, second, [images()])
    with pytest.raises(DataError, match="at least 4 samples"):
        streamed_cka(first, second, [images(), images()[:3]])
    for module in (*first.modules(), *second.modules()):
        assert module.training
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_impossible_requests_say_what_to_do() -> None:
    first = network(0)
    with pytest.raises(DataError, match="at least one batch"):
        streamed_cka(first, first, [])
    with pytest.raises(DataError, match="too large"):
        streamed_cka(first, first, [images()], form="pixels")
    with pytest.raises(DataError):
        streamed_cka(first, first, [images()], limit=1000)
    dead = network(1)
    with torch.no_grad():
        dead[1].weight.zero_()
        dead[1].bias.fill_(-1)
    with pytest.raises(UndefinedMeasure, match="2, 3, 4 is the same"):
        streamed_cka(first, dead, [images()], layers="2,3,4")
