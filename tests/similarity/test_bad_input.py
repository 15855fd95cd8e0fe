"""Networks that diverge, batches that are empty, settings that are wrong: clear errors, and nothing lost."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from torch import Tensor, nn

from weightscape.errors import DataError
from weightscape.similarity.capture import capture
from weightscape.similarity.comparison import compare
from weightscape.similarity.grams import grams
from weightscape.similarity.measure import find_measure
from weightscape.similarity.moments import StreamedMoments, joint_moments
from weightscape.similarity.streamed_cka import streamed_cka

ROWS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(40) % 4


class Times(nn.Module):
    """Multiplies."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.factor


def network(seed: int, factor: float = 1.0) -> nn.Module:
    """Return a network whose layer ``1`` overflows for an infinite factor; the layers before it do not."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 5), Times(factor), nn.Linear(5, 4))


@pytest.mark.parametrize(
    "measure", ["linear-cka", "minibatch-cka", "mean-cca", "pwcca", "l2", "semi-match", "knn-jaccard", "rsa-spearman"]
)
@pytest.mark.parametrize("asked", [{}, {"null": 3}, {"intervals": "jackknife"}])
def test_a_layer_that_overflows_has_a_message_and_the_others_their_values(
    measure: str, asked: dict[str, object]
) -> None:
    if asked.get("intervals") and find_measure(measure).sums == "moments":
        pytest.skip("no intervals over channels")
    found = compare(network(0, math.inf), network(1), [ROWS], layers="0,1", measures=measure, **asked).layers
    lost = found["source_layer"] == "1"
    assert found.loc[~lost, "value"].notna().all()
    assert (found.loc[~lost, "message"] == "").all()
    assert found.loc[lost, "value"].isna().all()
    assert found.loc[lost, "message"].str.contains("NaN or infinite").all()


def test_sums_that_are_not_finite_are_no_distance() -> None:
    sums = StreamedMoments()
    sums.add(ROWS.where(ROWS < 2, math.inf), ROWS)
    with pytest.raises(DataError, match="the first representation are NaN or infinite"):
        find_measure("l2").from_moments(sums.result())


def test_a_stream_says_which_layer_overflows() -> None:
    with pytest.raises(DataError, match="activations of 1, 2 are NaN or infinite"):
        streamed_cka(network(0, math.inf), network(0), [ROWS])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_a_stream_in_half_precision_is_the_measure_of_its_activations(dtype: torch.dtype, shift: float) -> None:
    rows = (100 * (ROWS + shift)).to(dtype)  # sums of squares that float16 cannot hold
    model = nn.Sequential(Times(1.0), Times(-2.0))
    found = streamed_cka(model, nn.Sequential(nn.ReLU()), [rows], layers="0", second_layers="0").values
    wanted = find_measure("linear-cka-debiased")(rows.double(), rows.double().relu())
    assert float(found) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("batches", [[ROWS[:0], ROWS], [ROWS, ROWS[:0]]])
def test_a_batch_without_samples_changes_nothing(batches: list[Tensor]) -> None:
    one, other = network(0), network(1)
    found, wanted = (compare(one, other, given).layers["value"] for given in (batches, [ROWS]))
    assert found.equals(wanted)
    assert torch.equal(capture(one, batches, "0")["0"], capture(one, [ROWS], "0")["0"])
    assert torch.equal(grams(one, batches, "0")["0"].matrix, grams(one, [ROWS], "0")["0"].matrix)
    assert torch.equal(streamed_cka(one, other, batches).values, streamed_cka(one, other, [ROWS]).values)
    assert joint_moments(one, other, batches, pairs=[("0", "2")])["0", "2"].count == 40


def test_batches_without_any_sample_are_none() -> None:
    for function in (capture, grams):
        with pytest.raises(DataError, match="at least one batch of inputs, received none"):
            function(network(0), [ROWS[:0]], "all")


def test_arrays_of_numpy_are_batches() -> None:
    found = capture(network(0), [numpy.asarray(ROWS)], "0")["0"]
    assert torch.equal(found, capture(network(0), [ROWS], "0")["0"])
