"""Measures of what one pass over the images stored, without the activations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.similarity.representations import MEASURES, options, pair
from weightscape.errors import DataError
from weightscape.similarity import computing
from weightscape.similarity.capture import capture
from weightscape.similarity.computing import similarity_matrix
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.grams import Gram, grams
from weightscape.similarity.intervals import interval_of
from weightscape.similarity.measure import find_measure, measure_names
from weightscape.similarity.moments import joint_moments
from weightscape.similarity.nulls import shuffled_pairs
from weightscape.similarity.similarity import similarity_of

LAYERS = ["conv", "relu"]


class Small(nn.Module):
    def __init__(self, seed: int, width: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.conv, self.relu = nn.Conv2d(2, width, 3), nn.ReLU(inplace=True)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=random))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.relu(self.conv(images)).flatten(1)


IMAGES = torch.randn(150, 2, 5, 5, generator=torch.Generator().manual_seed(0))
BATCHES = [(part, torch.zeros(len(part), dtype=torch.int64)) for part in IMAGES.split(40)]


@pytest.mark.parametrize("form", ["features", "pooled"])
def test_stored_grams_give_the_values_of_the_activations(form: str) -> None:
    first, second = Small(0, 3), Small(1, 4)
    stored = [grams(network, BATCHES, LAYERS, form=form) for network in (first, second)]  # type: ignore[arg-type]
    kept = [capture(network, BATCHES, LAYERS, form=form) for network in (first, second)]  # type: ignore[call-overload]
    for name in measure_names():
        measure = find_measure(name)
        if measure.sums == "grams":
            for layer in LAYERS:
                found = measure.from_grams(stored[0][layer], stored[1][layer])
                assert found == pytest.approx(measure(kept[0][layer], kept[1][layer]), abs=1e-8), name


def test_stored_grams_have_intervals_nulls_and_one_call() -> None:
    first, second = (grams(Small(seed, 3), BATCHES, LAYERS)["relu"] for seed in (0, 1))
    found = similarity_of(first, second, interval="jackknife", null=20)
    ends, null = (
        interval_of("linear-cka-debiased", first, second),
        shuffled_pairs("linear-cka-debiased", first, second, draws=20),
    )
    assert (found.low, found.high, found.null) == (ends.low, ends.high, null.mean)
    rows = [capture(Small(seed, 3), BATCHES, ["relu"])["relu"] for seed in (0, 1)]
    assert similarity_of(*rows, interval="jackknife").low == pytest.approx(found.low, abs=1e-8)


def test_stored_moments_give_the_values_of_the_pixels() -> None:
    first, second = Small(0, 3), Small(1, 4)
    moments = joint_moments(first, second, BATCHES, pairs=[("conv", "relu")])[("conv", "relu")]
    rows = (
        capture(first, BATCHES, ["conv"], form="pixels")["conv"],
        capture(second, BATCHES, ["relu"], form="pixels")["relu"],
    )
    assert moments.count == 150 * 9
    for name in measure_names():
        measure = find_measure(name)
        if "moments" in measure.functions and name != "l2":
            assert measure.from_moments(moments) == pytest.approx(measure(*rows), abs=1e-8), name


def test_gram_matrices_of_other_images_or_without_numbers_are_refused() -> None:
    stored = grams(Small(0, 3), BATCHES, LAYERS)["conv"]
    others = grams(Small(0, 3), [(IMAGES.flip(0), torch.zeros(150, dtype=torch.int64))], LAYERS)["conv"]
    with pytest.raises(DataError, match="other images"):
        find_measure("linear-cka").from_grams(stored, others)
    broken = Gram(torch.full((4, 4), torch.inf), torch.zeros(4), 3, "", "conv")
    with pytest.raises(DataError, match=r"'conv'.*16 that are NaN or infinite"):
        Geometry.of_gram(broken)


def test_gram_matrices_that_do_not_fit_into_memory_are_refused_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(computing, "MEMORY_LIMIT", 10_000)
    wide = torch.randn(50, 60, generator=torch.Generator().manual_seed(0))
    for name in ("rbf-cka", "linear-cka", "linear-cka-debiased"):
        with pytest.raises(DataError, match=r"50 samples take 97.7 KiB.*minibatch-cka"):
            find_measure(name)(wide, wide)
    assert find_measure("linear-cka")(wide[:, :20], wide[:, :20]) == pytest.approx(1)
    assert find_measure("minibatch-cka")(wide, wide, batch_size=10) == pytest.approx(1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_measures_on_a_gpu_are_those_on_the_cpu() -> None:
    for measure in MEASURES:
        sides, chosen = pair(measure, seed=0), options(measure)
        on_gpu = [rows.cuda() for rows in sides]
        assert measure(*on_gpu, **chosen) == pytest.approx(measure(*sides, **chosen), abs=1e-8), measure.name
        ends = [interval_of(measure, *rows, **chosen) for rows in (on_gpu, sides)] if not chosen else []
        assert not ends or (ends[0].low, ends[0].high) == pytest.approx((ends[1].low, ends[1].high), abs=1e-7)
        if not measure.needs_labels:
            nulls = [shuffled_pairs(measure, *rows, draws=5, **chosen).mean for rows in (on_gpu, sides)]
            assert nulls[0] == pytest.approx(nulls[1], abs=1e-8)
        if measure.sums == "grams":
            layers = [[Geometry.of_activations(rows)] for rows in on_gpu]
            assert float(similarity_matrix(measure, *layers, **chosen)) == pytest.approx(measure(*sides, **chosen))
