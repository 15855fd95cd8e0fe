from __future__ import annotations

import itertools

import pandas
import pytest

from weightscape.figures.drawing import draw
from weightscape.figures.registry import FigureError
from weightscape.similarity.networks import mean_over_pairs

LAYERS = ("conv1", "conv2", "fc")
PAIRS = tuple(itertools.combinations(range(4), 2))


def comparisons(pairs=((0, 1),), *, measures=("linear-cka",), targets=LAYERS, **constant) -> pandas.DataFrame:
    rows = [
        {
            "source.seed": source,
            "target.seed": target,
            "source_layer": first,
            "source_depth": row,
            "target_layer": second,
            "target_depth": column,
            "measure": measure,
            "kind": "distance" if measure == "procrustes" else "similarity",
            "value": 1 / (1 + abs(row - column)) - 0.1 * source - 0.01 * target,
            "low": 0.1,
            "high": 0.3,
            "null": 0.05,
            "n": 1000,
            "form": "features",
            **constant,
        }
        for source, target in pairs
        for measure in measures
        for row, first in reversed(list(enumerate(LAYERS)))  # the order of rows says nothing
        for column, second in enumerate(targets)
    ]
    return pandas.DataFrame(rows)


def test_layers_stand_in_order_of_execution_on_both_axes() -> None:
    axes = draw("layer-matrix", {"table": comparisons()}).figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(LAYERS)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(LAYERS)


def test_every_value_is_written_into_its_cell() -> None:
    axes = draw("layer-matrix", {"table": comparisons()}).figure.axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written[0, 0] == ".99"
    assert written[2, 1] == ".49"
    assert len(written) == 9


def test_the_csv_has_intervals_and_null_of_every_cell() -> None:
    numbers = draw("layer-matrix", {"table": comparisons()}).numbers
    assert len(numbers) == 9
    assert (numbers[["low", "high", "null"]].to_numpy() == [0.1, 0.3, 0.05]).all()


def test_the_caption_says_samples_form_null_and_interval() -> None:
    note = draw("layer-matrix", {"table": comparisons()}).figure.get_supxlabel()
    assert "One pair of networks, 1,000 samples, activations as features" in note
    assert "linear-cka 0.05 to 0.05" in note
    assert "±0.1" in note


def test_several_pairs_are_averaged_and_their_interval_leaves_out_whole_networks() -> None:
    drawn = draw("layer-matrix", {"table": comparisons(PAIRS)})
    cell = drawn.numbers.loc[(drawn.numbers["source_layer"] == "conv1") & (drawn.numbers["target_layer"] == "fc")].iloc[
        0
    ]
    values = [1 / 3 - 0.1 * source - 0.01 * target for source, target in PAIRS]
    expected = mean_over_pairs(values, *zip(*PAIRS, strict=True))
    assert (cell["y"], cell["low"], cell["high"]) == pytest.approx((expected.mean, expected.low, expected.high))
    assert (cell["n"], cell["networks"]) == (6, 4)
    assert "Mean of 6 pairs of 4 networks" in drawn.figure.get_supxlabel()


def test_a_measure_has_a_panel_and_distances_say_so() -> None:
    figure = draw("layer-matrix", {"table": comparisons(measures=("linear-cka", "procrustes"))}).figure
    assert [axes.get_title() for axes in figure.axes] == ["linear-cka", "procrustes (distance)"]


def test_the_measures_drawn_can_be_chosen() -> None:
    table = comparisons(measures=("linear-cka", "procrustes"))
    figure = draw("layer-matrix", {"table": table}, {"measures": ["procrustes"]}).figure
    assert [axes.get_title() for axes in figure.axes] == ["procrustes (distance)"]
    with pytest.raises(FigureError, match=r"no measure 'rsa'.*linear-cka, procrustes"):
        draw("layer-matrix", {"table": table}, {"measures": ["rsa"]})


def test_a_value_that_is_missing_is_an_empty_cell() -> None:
    table = comparisons()
    table.loc[(table["source_layer"] == "fc") & (table["target_layer"] == "fc"), "value"] = float("nan")
    drawn = draw("layer-matrix", {"table": table})
    assert len(drawn.numbers) == 8
    assert len(drawn.figure.axes[0].texts) == 8


def test_settings_that_differ_must_be_named() -> None:
    table = pandas.concat([comparisons(split="train"), comparisons(split="test")])
    with pytest.raises(FigureError, match=r"differ in: split.*option 'by'"):
        draw("layer-matrix", {"table": table})
    figure = draw("layer-matrix", {"table": table}, {"by": "split"}).figure
    assert [axes.get_title() for axes in figure.axes] == ["linear-cka, train", "linear-cka, test"]


def test_a_pair_that_failed_is_counted_as_missing() -> None:
    rows = pandas.DataFrame({"source.seed": [0, 0], "target.seed": [1, 2], "status": ["done", "failed"]})
    for name in ("layer-matrix", "similarity-curve"):
        note = draw(name, {"table": comparisons(), "rows": rows}).figure.get_supxlabel()
        assert "Missing: 1 pair of networks failed" in note


def test_a_lossy_copy_of_the_images_is_named() -> None:
    for name in ("layer-matrix", "similarity-curve"):
        assert "JPEG copy" in draw(name, {"table": comparisons(lossy_images=True)}).figure.get_supxlabel()
        assert "JPEG copy" not in draw(name, {"table": comparisons(lossy_images=False)}).figure.get_supxlabel()


def test_the_curve_has_corresponding_layers_alone() -> None:
    numbers = draw("similarity-curve", {"table": comparisons()}).numbers
    assert numbers["y"].tolist() == pytest.approx([0.99] * 3)
    assert sorted(numbers["source_layer"]) == sorted(LAYERS)


def test_layers_of_other_names_correspond_by_their_place() -> None:
    numbers = draw("similarity-curve", {"table": comparisons(targets=("a", "b", "c"))}).numbers
    found = set(zip(numbers["source_layer"], numbers["target_layer"], strict=True))
    assert found == {("conv1", "a"), ("conv2", "b"), ("fc", "c")}


def test_networks_without_corresponding_layers_have_no_curve() -> None:
    with pytest.raises(FigureError, match="No layers of the two networks correspond"):
        draw("similarity-curve", {"table": comparisons(targets=("a", "b"))})


def test_similarities_share_a_panel_and_distances_have_their_own() -> None:
    table = comparisons(PAIRS, measures=("linear-cka", "rsa-pearson", "procrustes"))
    figure = draw("similarity-curve", {"table": table}).figure
    assert [axes.get_ylabel() for axes in figure.axes] == ["similarity", "procrustes"]
    assert "band: 95 % interval leaving out whole networks" in " ".join(figure.get_supxlabel().split())


def test_a_table_of_the_library_names_networks_by_label() -> None:
    table = comparisons(PAIRS).rename(columns={"source.seed": "source", "target.seed": "target"})
    assert "Mean of 6 pairs of 4 networks" in draw("similarity-curve", {"table": table}).figure.get_supxlabel()


def test_networks_are_known_by_whatever_settings_tell_them_apart() -> None:
    names = {"source.seed": "source.init_seed", "target.seed": "target.init_seed"}
    table = comparisons(PAIRS).rename(columns=names).assign(**{"source.weights.seed": 0, "target.weights.seed": 0})
    numbers = draw("layer-matrix", {"table": table}).numbers
    assert set(numbers["networks"]) == {4}
    assert numbers["low"].notna().all()


@pytest.mark.parametrize(
    ("measure", "ends"),
    [
        ("linear-cka", (-0.4, 1.0)),
        ("svcca (variance=0.9)", (-0.4, 1.0)),
        ("procrustes", (0.0, 1.6)),
        ("mine.alike", (-0.4, 1.6)),
    ],
)
def test_a_band_ends_where_no_value_of_the_measure_can_be(measure: str, ends: tuple[float, float]) -> None:
    drawn = draw("similarity-curve", {"table": comparisons(measures=(measure,)).assign(low=-0.4, high=1.6)})
    (band,) = drawn.figure.axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == ends
    assert (drawn.numbers["low"].min(), drawn.numbers["high"].max()) == (-0.4, 1.6)
    assert ("as far as values are possible" in drawn.figure.get_supxlabel()) == (ends != (-0.4, 1.6))
