from __future__ import annotations

from dataclasses import dataclass

import numpy
import pytest
import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.cells import Asked, moment_cells, output_cells
from weightscape.similarity.computing import moments_of
from weightscape.similarity.gram_cells import gram_cells
from weightscape.similarity.intervals import interval_of
from weightscape.similarity.measure import find_measure
from weightscape.similarity.nulls import shuffled_pairs


@dataclass(frozen=True)
class Stored:
    matrix: Tensor
    width: int
    fingerprint: str = "same"
    layer: str = "layer"


def layers(count: int, *, samples: int = 24, seed: int = 0, fingerprint: str = "same") -> list[Stored]:
    random = torch.Generator().manual_seed(seed)
    rows = [torch.randn(samples, 3 + index, generator=random, dtype=torch.float64) for index in range(count)]
    return [Stored(x @ x.T, x.shape[1], fingerprint, f"layer{index}") for index, x in enumerate(rows)]


@pytest.mark.parametrize("name", ["linear-cka", "linear-cka-debiased", "minibatch-cka", "procrustes", "knn-jaccard"])
def test_every_cell_is_the_measure_of_its_two_layers(name: str) -> None:
    measure, first, second = find_measure(name), layers(3), layers(2, seed=1)
    options = {"neighbours": 4} if name == "knn-jaccard" and "neighbours" in measure.options else {}
    cells = gram_cells(measure, first, second, options=options, asked=Asked())
    expected = [[measure.from_grams(one, other, **options) for other in second] for one in first]
    assert cells.numbers["value"] == pytest.approx(numpy.array(expected))
    assert not cells.messages


@pytest.mark.parametrize("name", ["linear-cka-debiased", "minibatch-cka", "procrustes"])
def test_the_null_of_every_cell_is_that_of_its_two_layers(name: str) -> None:
    measure, first, second = find_measure(name), layers(2), layers(3, seed=1)
    options = {"batch_size": 8} if name == "minibatch-cka" else {}
    cells = gram_cells(measure, first, second, options=options, asked=Asked(null=15, seed=3))
    for row, one in enumerate(first):
        for column, other in enumerate(second):
            alone = shuffled_pairs(measure, one, other, draws=15, seed=3, **options)
            found = [cells.numbers[key][row, column] for key in ("value", "null", "null_low", "null_high", "p_value")]
            assert found == pytest.approx([alone.value, alone.mean, alone.low, alone.high, alone.p_value], rel=1e-9)


def test_the_interval_of_every_cell_is_that_of_its_two_layers() -> None:
    measure, first, second = find_measure("linear-cka-debiased"), layers(2), layers(2, seed=1)
    cells = gram_cells(measure, first, second, options={}, asked=Asked(intervals="jackknife"))
    alone = interval_of(measure, first[1], second[0])
    found = [cells.numbers[key][1, 0] for key in ("value", "low", "high", "stderr")]
    assert found == pytest.approx([alone.value, alone.low, alone.high, alone.stderr])


@pytest.mark.parametrize("name", ["linear-cka", "procrustes"])
def test_a_constant_layer_has_a_message_and_the_others_their_values(name: str) -> None:
    first = layers(3)
    first[1] = Stored(torch.ones(24, 24, dtype=torch.float64), 4, "same", "dead")
    cells = gram_cells(find_measure(name), first, layers(2, seed=1), options={}, asked=Asked())
    assert numpy.isnan(cells.numbers["value"][1]).all()
    assert numpy.isfinite(cells.numbers["value"][[0, 2]]).all()
    assert set(cells.messages) == {(1, 0), (1, 1)}
    assert "'dead' is the same for all 24 samples" in cells.messages[1, 0]


@pytest.mark.parametrize("name", ["linear-cka", "procrustes"])
def test_a_network_of_constant_layers_alone_is_an_error(name: str) -> None:
    dead = [Stored(torch.ones(24, 24, dtype=torch.float64), 4)]
    with pytest.raises(DataError, match="is the same for all 24 samples"):
        gram_cells(find_measure(name), layers(2), dead, options={}, asked=Asked())


def test_layers_of_other_samples_are_refused() -> None:
    with pytest.raises(DataError, match="taken on other images"):
        gram_cells(find_measure("linear-cka"), layers(2), layers(2, fingerprint="other"), options={}, asked=Asked())


def test_too_few_samples_are_refused() -> None:
    few = layers(1, samples=3)
    with pytest.raises(DataError, match="needs at least 4 samples"):
        gram_cells(find_measure("linear-cka-debiased"), few, few, options={}, asked=Asked())


def test_a_mean_over_batches_is_the_mean_of_what_each_batch_gives() -> None:
    measure, first, second = find_measure("linear-cka"), layers(1), layers(1, seed=1)
    cells = gram_cells(measure, first, second, options={}, asked=Asked(batch=8))
    parts = [slice(start, start + 8) for start in (0, 8, 16)]
    alone = [measure.from_grams(*(Stored(one.matrix[b, b], 3) for one in (*first, *second))) for b in parts]
    assert cells.numbers["value"][0, 0] == pytest.approx(numpy.mean(alone))


@pytest.mark.parametrize(
    ("asked", "message"),
    [(Asked(batch=7), "divide the 24 samples evenly"), (Asked(batch=8, null=3), "no intervals and no null")],
)
def test_a_mean_over_batches_that_cannot_be_is_refused(asked: Asked, message: str) -> None:
    with pytest.raises(DataError, match=message):
        gram_cells(find_measure("linear-cka"), layers(1), layers(1), options={}, asked=asked)


def test_outputs_are_one_cell_with_labels_where_the_measure_needs_them() -> None:
    random = torch.Generator().manual_seed(0)
    one, other = torch.randn(30, 3, generator=random), torch.randn(30, 3, generator=random)
    labels = torch.randint(3, (30,), generator=random)
    agreement = find_measure("prediction-agreement")
    cells = output_cells(agreement, one, other, options={}, asked=Asked(null=10))
    assert cells.numbers["value"].item() == (one.argmax(1) == other.argmax(1)).double().mean()
    assert 0 <= cells.numbers["null"].item() <= 1
    overlap = find_measure("mistakes-jaccard")
    whole = output_cells(overlap, one, other, options={"labels": labels}, asked=Asked(null=10)).numbers
    wrong, others = one.argmax(1) != labels, other.argmax(1) != labels
    assert whole["value"].item() == pytest.approx(float((wrong & others).sum() / (wrong | others).sum()))
    assert numpy.isnan(whole["null"]).all()
    batched = output_cells(overlap, one, other, options={"labels": labels}, asked=Asked(batch=15)).numbers
    parts = [overlap(one[b], other[b], labels=labels[b]) for b in (slice(0, 15), slice(15, 30))]
    assert batched["value"].item() == pytest.approx(numpy.mean(parts))


def test_moments_that_could_not_be_had_are_messages() -> None:
    random = torch.Generator().manual_seed(0)
    x, y = (torch.randn(50, 4, generator=random, dtype=torch.float64) for _ in range(2))
    measure = find_measure("l2")
    shuffled = [moments_of(x, y[torch.randperm(50, generator=random)]) for _ in range(5)]
    cells = moment_cells(
        measure, (1, 2), {(0, 0): moments_of(x, y)}, {(0, 1): "no"}, nulls={(0, 0): shuffled}, options={}
    )
    assert cells.numbers["value"][0, 0] == pytest.approx(float((x - y).square().mean()))
    assert cells.numbers["null"][0, 0] == pytest.approx(
        numpy.mean([measure.from_moments(moments) for moments in shuffled])
    )
    assert cells.messages == {(0, 1): "no"}
