"""Every measure equals an independent computation, from matrices, from Gram matrices and from moments."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.similarity.oracles import ORACLES, OTHER_OPTIONS, unbiased_hsic
from tests.similarity.representations import MEASURES, options, pair
from weightscape.errors import DataError
from weightscape.similarity.computing import moments_of, similarity_matrix
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.measure import Measure, MeasureName, find_measure
from weightscape.similarity.measures.linear_cka import unbiased_product

DOCS = Path(__file__).parents[2] / "docs" / "concepts" / "similarity.md"
every_measure = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)


def all_options(measure: Measure) -> list[dict[str, object]]:
    required = {"labels": torch.arange(60) % 6} if measure.needs_labels else {}
    return [required, *({**required, **other} for other in OTHER_OPTIONS.get(measure.name, []))]


def test_every_measure_has_an_oracle_and_a_place_in_the_documentation() -> None:
    bundled = get_args(MeasureName)  # others may have registered measures of their own
    assert set(ORACLES) == set(bundled)
    text = DOCS.read_text(encoding="utf-8")
    assert not [name for name in bundled if f"`{name}`" not in text]
    assert not [measure.name for measure in MEASURES if not (measure.summary and measure.source and measure.cost)]


def test_every_option_is_tried_with_other_values() -> None:
    for measure in MEASURES:
        tried = {name for chosen in OTHER_OPTIONS.get(measure.name, []) for name in chosen} | {"labels"}
        assert set(measure.options) <= tried, measure.name


@every_measure
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_measure_equals_the_independent_computation(measure: Measure, seed: int) -> None:
    x, y = pair(measure, seed=seed)
    for chosen in all_options(measure):
        expected = ORACLES[measure.name](
            x.numpy(), y.numpy(), **{k: np.asarray(v) if k == "labels" else v for k, v in chosen.items()}
        )
        assert measure(x, y, **chosen) == pytest.approx(expected, abs=1e-8), chosen


@every_measure
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), wide=st.booleans())
def test_gram_matrices_and_moments_give_the_value_of_the_activations(measure: Measure, seed: int, wide: bool) -> None:
    spanned = "X" in measure.sample_rule
    widths = (90, 80) if wide and not spanned and "grams" in measure.functions else (7, 5)
    x, y = pair(measure, seed=seed, first=widths[0], second=widths[1])
    for chosen in [options(measure), *all_options(measure)]:
        expected = measure(x, y, **chosen)
        if "grams" in measure.functions and chosen.get("dissimilarity") != "correlation":
            grams = [Geometry(gram=rows @ rows.T, width=rows.shape[1]) for rows in (x, y)]
            assert measure.from_grams(*grams, **chosen) == pytest.approx(expected, abs=1e-8)
            features = [Geometry.of_activations(rows) for rows in (x, y)]
            assert measure.from_grams(*features, **chosen) == pytest.approx(expected, abs=1e-8)
        if "moments" in measure.functions:
            assert measure.from_moments(moments_of(x, y), **chosen) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("measure", [one for one in MEASURES if one.sums == "grams"], ids=lambda one: one.name)
def test_all_pairs_of_layers_are_those_of_one_pair_after_the_other(measure: Measure) -> None:
    layers = [pair(measure, seed=seed, first=width)[0] for seed, width in ((0, 3), (1, 5), (2, 8))]
    others = [pair(measure, seed=seed, first=width)[0] for seed, width in ((3, 4), (4, 6))]
    grams = [[Geometry(gram=rows @ rows.T, width=rows.shape[1]) for rows in side] for side in (layers, others)]
    chosen = options(measure)
    found = similarity_matrix(measure, *grams, **chosen)
    assert found.shape == (3, 2)
    for (i, one), (j, other) in itertools.product(enumerate(layers), enumerate(others)):
        assert float(found[i, j]) == pytest.approx(measure(one, other, **chosen), abs=1e-9)
    itself = similarity_matrix(measure, grams[0], grams[0], **chosen)
    assert torch.allclose(itself.diagonal(), torch.full((3,), measure.best, dtype=torch.float64), atol=1e-6)
    if measure.symmetric:
        assert torch.allclose(itself, itself.T, atol=1e-9)


def test_grams_in_single_precision_give_six_digits() -> None:
    x, y = pair(find_measure("rbf-cka"), seed=0, first=50, second=40)
    for name in ("linear-cka", "linear-cka-debiased", "rbf-cka", "rsa-pearson", "procrustes"):
        measure = find_measure(name)
        for scale in (1e-4, 1.0, 1e4):
            single = [Geometry(gram=(scale * rows @ rows.T).float(), width=rows.shape[1]) for rows in (x, y)]
            assert measure.from_grams(*single) == pytest.approx(measure(x, y), abs=1e-5)


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_unbiased_hsic_is_the_mean_over_all_tuples_of_different_samples(seed: int) -> None:
    """The definition as a U-statistic of order four (Song et al. 2012), for seven samples."""
    x, y = (rows - rows.mean(dim=0) for rows in pair(find_measure("linear-cka"), seed=seed, count=7))
    one, other = (x @ x.T).numpy(), (y @ y.T).numpy()
    terms = [
        one[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q]) for i, j, q, r in itertools.permutations(range(7), 4)
    ]
    assert unbiased_product(x, y) / (7 * 4) == pytest.approx(np.mean(terms), abs=1e-9)
    assert unbiased_hsic(x.numpy(), y.numpy()) == pytest.approx(np.mean(terms), abs=1e-9)


def test_closed_forms_that_need_no_library() -> None:
    """A square and what is known of it: 90 degrees between its two coordinates, a line inside it, its halves."""
    square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    side, other = square[:, :1], square[:, 1:]
    assert find_measure("linear-cka")(side, other) == pytest.approx(0.0, abs=1e-12)
    assert find_measure("linear-cka")(square, side) == pytest.approx(1 / math.sqrt(2))
    assert find_measure("procrustes")(side, other) == pytest.approx(math.sqrt(2))
    assert find_measure("angular-procrustes")(square, side) == pytest.approx(math.pi / 4)
    assert find_measure("linear-regression")(side, square) == pytest.approx(0.5)
    assert find_measure("mean-cca")(square, side) == pytest.approx(1.0)
    assert find_measure("orthogonal-distance")(square, side) == pytest.approx(1.0)
    assert find_measure("semi-match")(side, square) == pytest.approx(0.5)
    assert find_measure("l2")(side, other) == pytest.approx(2.0)
    logits = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    assert find_measure("output-kl")(*logits) == pytest.approx(0.5 * math.log(2 / 3) + 0.5 * math.log(2))


def test_another_probe_set_is_refused() -> None:
    x, y = pair(find_measure("linear-cka"), seed=0)
    one = Geometry(gram=x @ x.T, fingerprint="a" * 32)
    other = Geometry(gram=y @ y.T, fingerprint="b" * 32)
    with pytest.raises(DataError, match="other images"):
        find_measure("linear-cka").from_grams(one, other)
    with pytest.raises(DataError, match="60 and 50 samples"):
        find_measure("linear-cka").from_grams(one, Geometry(gram=(y @ y.T)[:50, :50]))
