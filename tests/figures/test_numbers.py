from __future__ import annotations

import itertools
import math
import statistics

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.figures.labels import spread
from weightscape.figures.literature import load_published, published_names
from weightscape.figures.numbers import COLUMNS, counts, curves, labelled, require
from weightscape.figures.registry import FigureError
from weightscape.figures.style import looks


def one_series(values: list[float]) -> pandas.DataFrame:
    return pandas.DataFrame({"seed": range(len(values)), "step": 1, "accuracy": values})


@given(st.lists(st.floats(0, 1), min_size=1, max_size=14))
def test_mean_and_band_are_those_of_the_runs_with_the_sample_deviation(values: list[float]) -> None:
    rows = curves(labelled(one_series(values), by=[]), x="step", y="accuracy", quantity="accuracy", scale=100)
    mean = rows.loc[rows["kind"] == "mean"].iloc[0]
    assert mean["n"] == len(values)
    assert mean["y"] == pytest.approx(100 * statistics.fmean(values), abs=1e-9)
    if len(values) > 1:
        assert mean["sd"] == pytest.approx(100 * statistics.stdev(values), abs=1e-9)
    else:
        assert math.isnan(mean["sd"])


@pytest.mark.parametrize(("count", "single"), [(1, 0), (2, 2), (9, 9), (10, 0)])
def test_single_runs_are_kept_when_there_are_two_to_nine(count: int, single: int) -> None:
    rows = curves(labelled(one_series([0.5] * count), by=[]), x="step", y="accuracy", quantity="accuracy")
    assert (rows["kind"] == "run").sum() == single
    assert tuple(rows.columns) == COLUMNS


def test_a_setting_that_would_be_averaged_away_is_named() -> None:
    parts = [one_series([lr, 2 * lr]).assign(lr=lr, key=[f"{lr}-{seed}" for seed in range(2)]) for lr in (0.1, 0.01)]
    table = pandas.concat([part.assign(step=step, accuracy=step * part["lr"]) for part in parts for step in (1, 2)])
    with pytest.raises(FigureError, match=r"differ in: lr\. Name") as caught:
        curves(labelled(table, by=[]), x="step", y="accuracy", quantity="a")
    assert "'by'" in str(caught.value)
    split = curves(labelled(table, by="lr"), x="step", y="accuracy", quantity="a")
    assert set(split["series"]) == {"lr=0.1", "lr=0.01"}


def test_a_missing_column_is_named_with_the_closest() -> None:
    with pytest.raises(FigureError, match=r"'table' needs the column 'accuracyy'\. Did you mean 'accuracy'"):
        require(one_series([0.1]), ["accuracyy"], name="table")
    with pytest.raises(FigureError, match="has no rows"):
        require(pandas.DataFrame({"key": []}), ["step"], name="table")


def test_failed_rows_count_as_expected_and_are_not_drawn() -> None:
    table = one_series([0.1, 0.2, 0.9]).assign(method="gmt", status=["done", "cached", "failed"])
    frame = labelled(table, by="method")
    assert counts(frame, y="accuracy") == {"gmt": (2, 3)}
    assert curves(frame, x="step", y="accuracy", quantity="a")["y"].max() < 0.9


def test_failed_rows_of_the_stage_are_added_to_a_detail_table() -> None:
    rows = pandas.DataFrame({"seed": [0, 1], "method": ["gmt", "oracle"], "status": ["done", "blocked"]})
    frame = labelled(one_series([0.1]).assign(method="gmt"), by=None, rows=rows)
    assert counts(frame, y="accuracy") == {"gmt": (1, 1), "oracle": (0, 1)}


@given(st.lists(st.floats(-10, 10), max_size=8), st.floats(0.01, 3))
def test_spread_labels_keep_their_order_distance_and_centre(places: list[float], gap: float) -> None:
    places = sorted(places)
    moved = spread(places, gap=gap)
    assert all(after - before >= gap - 1e-9 for before, after in itertools.pairwise(moved))
    assert sum(moved) == pytest.approx(sum(places), abs=1e-6)
    if all(after - before >= gap for before, after in itertools.pairwise(places)):
        assert moved == pytest.approx(places, abs=1e-9)


def test_no_two_series_look_alike() -> None:
    names = ["gmt", "fgmt", "oracle", "naive", *(f"mine {index}" for index in range(12))]
    chosen = looks(names)
    assert len({(look.colour, look.marker, look.dash) for look in chosen.values()}) == len(names)


def test_published_curves_are_those_of_the_paper() -> None:
    paper = load_published("mnist-mlp")
    assert "2305.14122" in paper.source
    assert {curve.method for curve in paper.curves} == {"gmt", "fgmt", "oracle", "naive"}
    assert sorted(paper.trained.items()) == [(1, 95.73), (4, 97.80), (10, 98.15)]
    for curve in paper.curves:
        assert len(curve.steps) == len(curve.mean) == len(curve.sd) == 5
    # GMT and FGMT are the same algorithm at step 1.
    first = {curve.method: (curve.mean[0], curve.sd[0]) for curve in paper.curves}
    assert first["gmt"] == first["fgmt"]
    with pytest.raises(FigureError, match="Did you mean 'mnist-mlp'"):
        load_published("mnist_mlp")
    assert published_names() == ("mnist-mlp",)


def test_published_numbers_equal_the_collected_ones(shared_data) -> None:
    import json

    collected = json.loads((shared_data / "reference" / "learning_transfer_paper_curves.json").read_text())
    curves_there = {
        curve["label"].split()[0].lower(): curve for curve in collected["section_4-1_init-mnist_mlp"]["curves"]
    }
    for curve in load_published("mnist-mlp").curves:
        there = curves_there[curve.method]
        assert (list(curve.steps), list(curve.mean), list(curve.sd)) == (there["x"], there["mean"], there["sd"])
