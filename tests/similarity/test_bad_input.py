"""Networks that diverge, batches that are empty, settings that are wrong: clear errors, and nothing lost."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy
import pytest
import torch
from torch import Tensor, nn

from weightscape.errors import DataError, ModelError
from weightscape.similarity.capture import capture
from weightscape.similarity.comparison import compare, compare_all
from weightscape.similarity.grams import grams
from weightscape.similarity.measure import find_measure
from weightscape.similarity.moments import StreamedMoments, joint_moments
from weightscape.similarity.operations import _fits
from weightscape.similarity.representation import represent
from weightscape.similarity.settings import chosen
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


@pytest.mark.parametrize("layers", ["", []])
def test_no_layer_is_said_in_every_way_to_compare(layers: object) -> None:
    model = network(0)
    stored = represent(model, [ROWS])
    for error, call in (
        (ModelError, lambda: compare(model, model, [ROWS], layers=layers)),
        (ModelError, lambda: represent(model, [ROWS], layers=layers)),
        (ModelError, lambda: streamed_cka(model, model, [ROWS], layers=layers)),
        (DataError, lambda: compare(stored, stored, layers=layers)),
    ):
        with pytest.raises(error, match=r"Expected .* layer.*, received none"):
            call()


def test_a_single_module_has_outputs_and_no_layers() -> None:
    with pytest.raises(ModelError, match="a single module has none inside it"):
        compare(network(0)[0], network(1)[0], [ROWS])
    found = compare(network(0)[0], network(1)[0], [ROWS], measures="prediction-agreement").layers
    assert list(found["source_layer"]) == ["output"]


def test_the_table_of_stored_representations_says_their_form_and_width() -> None:
    maps = torch.randn(12, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    model = nn.Sequential(nn.Conv2d(3, 5, 3))
    pooled, features = (represent(model, [maps], form=form) for form in ("pooled", "features"))
    for found in (compare(pooled, pooled), compare_all([pooled, pooled])):
        row = found.layers.iloc[0]
        assert (row["form"], row["source_width"], row["target_width"]) == ("pooled", 5, 5)
    with pytest.raises(DataError, match="received features and features and the wish for pooled"):
        compare(features, features, form="pooled")
    with pytest.raises(DataError, match="received features and pooled"):
        compare(features, pooled)


WRONG = [
    ({"form": "flat"}, "Expected the form pixels, features or pooled, received 'flat'"),
    ({"null": -1}, "Expected 0 or more shuffles"),
    ({"average_over": 1}, r"batches \(average_over\) of 2 or more samples"),
    ({"average_over": 5, "null": 3}, "has no intervals and no null"),
    ({"intervals": "bootstrap"}, "a bootstrap of samples is wrong"),
    ({"measures": "linear-ckaa"}, "Did you mean 'linear-cka'"),
    ({"measures": {"name": "svcca", "variance": "most"}}, "'variance' of 'svcca' is a number such as 0.99"),
    ({"measures": {"name": "svcca", "varience": 0.9}}, "Did you mean 'variance'"),
    ({"form": "pixels"}, "of pixels there are too many"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_settings_are_refused_before_a_network_runs(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        compare(nn.Identity(), nn.Identity(), lambda: pytest.fail("read"), **options)


@pytest.mark.parametrize(("options", "message"), [*WRONG[1:5], *WRONG[6:]])
def test_a_study_with_wrong_settings_is_found_when_it_is_planned(options: dict[str, object], message: str) -> None:
    given = {
        "measures": "linear-cka-debiased",
        "form": None,
        "null": 0,
        "intervals": None,
        "average_over": None,
        **options,
    }
    settings = SimpleNamespace(**{**given, "measures": chosen(given["measures"])})
    (problem,) = _fits(settings)
    with pytest.raises(DataError, match=message):
        raise DataError(problem.remedy)


def test_settings_that_can_be_had_are_no_problem() -> None:
    plain = {"form": None, "null": 0, "intervals": None, "average_over": None}
    for options in ({}, {"null": 3}, {"form": "pooled"}, {"intervals": "jackknife"}):
        measures = chosen(["linear-cka", {"name": "svcca", "variance": 1}])
        assert _fits(SimpleNamespace(**plain | options, measures=measures)) == []
