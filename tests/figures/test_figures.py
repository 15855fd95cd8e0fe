from __future__ import annotations

import numpy
import pandas
import pytest

from weightscape.figures.drawing import draw
from weightscape.figures.registry import FigureError


def texts(figure) -> str:
    found = [text.get_text() for text in figure.texts]
    found += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    found += [text.get_text() for axes in figure.axes for text in axes.texts]
    return "\n".join([*found, figure.get_supxlabel()])


@pytest.mark.parametrize("split", ["validation", "test"])
def test_transfer_curve_draws_percent_of_the_split_from_step_one(steps: pandas.DataFrame, split: str) -> None:
    numbers = draw("transfer-curve", {"table": steps}, {"split": split}).numbers
    means = numbers.loc[numbers["kind"] == "mean"].set_index(["series", "x"])
    for method in ("gmt", "fgmt", "oracle", "naive"):
        for step in range(1, 6):
            values = steps.loc[(steps["method"] == method) & (steps["step"] == step), f"{split}_accuracy"]
            assert means.loc[(method, step), "y"] == pytest.approx(100 * numpy.mean(values))
            assert means.loc[(method, step), "sd"] == pytest.approx(100 * numpy.std(values, ddof=1))
    assert numbers["x"].min() == 1
    assert len(numbers.loc[(numbers["kind"] == "run") & (numbers["series"] == "gmt")]) == 15


def test_the_lines_on_the_axes_are_the_numbers_beside_the_figure(steps: pandas.DataFrame) -> None:
    drawn = draw("transfer-curve", {"table": steps}, {"start": 0})
    lines = [numpy.column_stack([line.get_xdata(), line.get_ydata()]) for line in drawn.figure.axes[0].get_lines()]
    groups = drawn.numbers.groupby(["series", "kind", "run"], sort=False)
    expected = [group[["x", "y"]].to_numpy() for _, group in groups]
    assert len(lines) == len(expected) == 20  # four methods and the control, each with three pairs and a mean
    for points in expected:
        assert any(line.shape == points.shape and numpy.array_equal(line, points) for line in lines)


def test_the_permuted_source_is_drawn_once_per_pair_and_only_for_its_own_split(steps: pandas.DataFrame) -> None:
    numbers = draw("transfer-curve", {"table": steps}).numbers
    control = numbers.loc[(numbers["series"] == "permuted source") & (numbers["kind"] == "mean")]
    assert list(control["n"]) == [3] * 5
    assert list(control["y"]) == pytest.approx([100 * (0.31 + 0.1 * step) for step in range(1, 6)])
    assert "permuted source" not in set(draw("transfer-curve", {"table": steps}, {"split": "test"}).numbers["series"])


def test_published_points_and_trained_lines_are_drawn(steps: pandas.DataFrame, epochs: pandas.DataFrame) -> None:
    drawn = draw("transfer-curve", {"table": steps, "reference": epochs}, {"published": "mnist-mlp"})
    numbers = drawn.numbers
    published = numbers.loc[numbers["kind"] == "published"].set_index(["series", "x"])
    assert len(published) == 20
    assert tuple(published.loc[("naive", 1), ["y", "sd", "n"]]) == (61.8556, 1.963, 3)
    trained = numbers.loc[numbers["kind"] == "reference"].set_index("series")["y"]
    for epoch in (1, 4, 10):
        mean = epochs.loc[epochs["epoch"] == epoch, "validation_accuracy"].mean()
        assert trained[f"Trained (epoch {epoch})"] == pytest.approx(100 * mean)
    assert "arXiv 2305.14122 v2" in texts(drawn.figure).replace("\n", " ")
    assert drawn.figure.axes[0].get_xlim()[1] < 6  # an epoch is no step


def test_reference_lines_follow_the_chosen_epochs(steps: pandas.DataFrame, epochs: pandas.DataFrame) -> None:
    tables = {"table": steps, "reference": epochs}
    chosen = draw("transfer-curve", tables, {"epochs": [2, 3]}).numbers
    last = draw("transfer-curve", tables).numbers
    assert list(chosen.loc[chosen["kind"] == "reference", "series"]) == ["Trained (epoch 2)", "Trained (epoch 3)"]
    assert list(last.loc[last["kind"] == "reference", "series"]) == ["Trained (epoch 10)"]


def test_missing_runs_are_named_with_their_number(steps: pandas.DataFrame) -> None:
    rows = steps.loc[steps["step"] == 0, ["method", "source.seed", "target.seed"]].assign(status="done")
    rows.loc[rows["method"] == "oracle", "status"] = "failed"
    table = steps.loc[(steps["method"] != "oracle") & ~((steps["method"] == "gmt") & (steps["source.seed"] == 2))]
    drawn = draw("transfer-curve", {"table": table, "rows": rows})
    said = texts(drawn.figure)
    assert "n = 3 pairs" in said
    assert "GMT (2 of 3 pairs drawn)" in said
    assert "oracle (missing)" in said
    assert "oracle" not in set(drawn.numbers["series"])


def test_pairs_that_share_networks_are_not_sold_as_independent(steps: pandas.DataFrame) -> None:
    shared = steps.assign(**{"source.seed": 0})
    assert "n = 3 pairs (1 source, 3 targets)" in texts(draw("transfer-curve", {"table": shared}).figure)
    assert "n = 3 pairs;" in texts(draw("transfer-curve", {"table": steps}).figure)


def test_one_pair_has_no_band_and_no_thin_lines(steps: pandas.DataFrame) -> None:
    drawn = draw("transfer-curve", {"table": steps.loc[steps["source.seed"] == 0]})
    assert set(drawn.numbers["kind"]) == {"mean"}
    assert not drawn.figure.axes[0].collections
    assert "SD" not in texts(drawn.figure)


def test_a_single_method_needs_no_method_column(steps: pandas.DataFrame) -> None:
    table = steps.loc[steps["method"] == "gmt"].drop(columns="method")
    assert set(draw("transfer-curve", {"table": table}).numbers["series"]) == {"all", "permuted source"}


def test_chance_is_drawn_where_the_curves_come_near_it(steps: pandas.DataFrame) -> None:
    near = draw("transfer-curve", {"table": steps}, {"chance": 0.5}).numbers
    far = draw("transfer-curve", {"table": steps}, {"chance": 0.1}).numbers
    assert list(near.loc[near["kind"] == "chance", "y"]) == [50]
    assert "chance" not in set(far["kind"])


def test_a_zoom_is_a_second_panel_of_the_same_numbers(steps: pandas.DataFrame) -> None:
    plain, zoomed = (draw("transfer-curve", {"table": steps}, options) for options in ({}, {"zoom": [80, 99]}))
    pandas.testing.assert_frame_equal(plain.numbers, zoomed.numbers)
    assert zoomed.figure.axes[1].get_ylim() == (80, 99)


@pytest.mark.parametrize("name", ["transfer-curve", "transfer-cosine", "learning-curve", "match-summary"])
def test_a_table_without_the_columns_is_refused_by_name(name: str) -> None:
    with pytest.raises(FigureError, match="The table 'table' needs"):
        draw(name, {"table": pandas.DataFrame({"seed": [1], "other": [2]})})


@pytest.mark.parametrize("measure", ["cosine_matching", "cosine_heldout", "cosine_null"])
def test_cosines_are_averaged_per_method_and_step(steps: pandas.DataFrame, measure: str) -> None:
    drawn = draw("transfer-cosine", {"table": steps})
    numbers = drawn.numbers.loc[(drawn.numbers["kind"] == "mean") & (drawn.numbers["quantity"] == measure)]
    expected = steps.astype({measure: float}).groupby(["method", "step"])[measure].mean().dropna()
    assert numbers.set_index(["series", "x"])["y"].to_dict() == pytest.approx(expected.to_dict())
    assert [axes.get_title() for axes in drawn.figure.axes] == ["GMT", "FGMT", "oracle", "naive"]


def test_learning_curve_draws_what_the_table_has(epochs: pandas.DataFrame) -> None:
    drawn = draw("learning-curve", {"table": epochs})
    assert [axes.get_ylabel() for axes in drawn.figure.axes] == ["loss (nats)", "accuracy (%)"]
    means = drawn.numbers.loc[drawn.numbers["kind"] == "mean"].set_index(["quantity", "series", "x"])["y"]
    for (epoch), rows in epochs.loc[epochs["epoch"] > 0].groupby("epoch"):
        assert means["accuracy (%)", "validation", epoch] == pytest.approx(100 * rows["validation_accuracy"].mean())
        assert means["loss (nats)", "train", epoch] == pytest.approx(1 / epoch)
    assert ("loss (nats)", "validation", 0) not in means
    assert "n = 4 seeds" in texts(drawn.figure)


def test_learning_curve_by_a_setting_has_one_colour_per_setting(epochs: pandas.DataFrame) -> None:
    table = pandas.concat([epochs.assign(lr=lr) for lr in (0.1, 0.01)])
    drawn = draw("learning-curve", {"table": table}, {"by": "lr", "splits": ["train", "validation"], "start": 0})
    marks = {text.get_text(): line.get_color() for text, line in _legend(drawn.figure)}
    assert marks["lr=0.1, train"] == marks["lr=0.1, validation"] != marks["lr=0.01, validation"]


def test_a_mean_of_runs_that_stopped_at_different_epochs_is_said_to_be_one(epochs: pandas.DataFrame) -> None:
    note = "the mean is of those that go on"
    assert note not in texts(draw("learning-curve", {"table": epochs}).figure)
    stopped = epochs.loc[(epochs["seed"] > 0) | (epochs["epoch"] < 7)]
    assert note in texts(draw("learning-curve", {"table": stopped}).figure).replace("\n", " ")


def _legend(figure):
    return [pair for legend in figure.legends for pair in zip(legend.get_texts(), legend.get_lines(), strict=True)]


def test_match_summary_has_a_bar_per_group_as_long_as_the_mean() -> None:
    moved = {("fc1", 0): 0.9, ("fc1", 1): 0.7, ("fc2", 0): 0.2, ("fc2", 1): 0.4}
    table = pandas.DataFrame([{"group": g, "seed": s, "moved": value} for (g, s), value in moved.items()])
    drawn = draw("match-summary", {"table": table})
    axes = drawn.figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([80, 30])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["fc1", "fc2"]
    means = drawn.numbers.loc[drawn.numbers["kind"] == "mean"]
    assert list(means["group"]) == ["fc1", "fc2"]
    assert list(means["sd"]) == pytest.approx([100 * 0.2 / 2**0.5] * 2)


def test_training_after_transfer_is_told_apart_by_method_beside_standard_training(epochs: pandas.DataFrame) -> None:
    runs = epochs.rename(columns={"seed": "start.source.seed"}).assign(**{"start.target.seed": 9})
    table = pandas.concat([runs.assign(**{"start.method": method}) for method in ("naive", "gmt")])
    table = table.loc[table["epoch"] <= 5]
    drawn = draw("learning-curve", {"table": table, "reference": epochs})
    assert [axes.get_ylabel() for axes in drawn.figure.axes] == ["validation loss (nats)", "validation accuracy (%)"]
    assert set(drawn.numbers["series"]) == {"gmt", "naive", "standard training"}
    standard = drawn.numbers.loc[drawn.numbers["kind"] == "reference"]
    assert set(standard["x"]) == {1, 2, 3, 4, 5}
    last = epochs.loc[epochs["epoch"] == 5, "validation_accuracy"].mean()
    assert standard["y"].iloc[-1] == pytest.approx(100 * last)
    assert "n = 4 pairs (4 sources, 1 target)" in texts(drawn.figure)


def test_legends_stay_on_the_page(steps: pandas.DataFrame) -> None:
    drawn = draw("transfer-cosine", {"table": steps.assign(cosine_identity=0.1)})
    drawn.image("png")
    for legend in drawn.figure.legends:
        box = legend.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= drawn.figure.bbox.x1
