"""Figures of stitches, on tables whose means, differences and steps are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy
import pandas
import pytest
from scipy.stats import t

from weightscape.figures.drawing import DrawnFigure, draw
from weightscape.figures.registry import FigureError

LAYERS = ("bn1", "bn2", "bn3")
METHODS = {"identity": 0.1, "permutation": 0.3, "orthogonal": 0.5, "least-squares": 0.6}
Rule = Callable[[int, int, int], float]


def pairs(networks: int) -> list[tuple[int, int]]:
    return list(itertools.permutations(range(networks), 2))


def stitches(rule: Rule, *, networks: int = 3, layers: Sequence[str] = LAYERS, **more: Any) -> pandas.DataFrame:
    """One row per pair and layer, as the table of a stage of `stitch` has them; `rule` gives the accuracy."""
    return pandas.DataFrame([
        {
            "key": f"{front}{back}{layer}{''.join(map(str, more.values()))}",
            "status": "done",
            "front.path": f"nets/in{front}-gn{front}/1.pt",
            "back.path": f"nets/in{back}-gn{back}/1.pt",
            "front.init_seed": front,
            "back.init_seed": back,
            "front_layer": layer,
            "depth": 2 * place + 1,
            **measures(rule(front, back, place)),
            **more,
        }
        for front, back in pairs(networks)
        for place, layer in enumerate(layers)
    ])  # fmt: skip


def measures(value: float) -> dict[str, Any]:
    return {
        "accuracy": 0.5 * value,
        "relative_accuracy": value,
        "relative_to_front": value + 0.01,
        "above_chance": value - 0.02,
        "cross_entropy": 2.3 - value,
        "kl": 1 - value,
        "agreement": 0.9 * value,
        "cka": 1 - value / 2,
        "cka_unstitched": 0.25,
        "r2": value - 0.1,
        "lossy_images": False,
    }


def matches(rule: Rule = lambda front, back, place: 0.0, *, networks: int = 3, **more: Any) -> pandas.DataFrame:
    """The table `matches` of direct matching: each method at its level, plus what `rule` says."""
    parts = [
        stitches(lambda *place, level=level: level + rule(*place), networks=networks, method=method, **more)
        for method, level in METHODS.items()
    ]
    return pandas.concat(parts, ignore_index=True).drop(columns=["status", "front.init_seed", "back.init_seed"])


def means(drawn: DrawnFigure, quantity: str, series: str) -> pandas.DataFrame:
    numbers = drawn.numbers
    chosen = (numbers["kind"] == "mean") & (numbers["quantity"] == quantity) & (numbers["series"] == series)
    return numbers.loc[chosen].set_index("layer")


def said(drawn: DrawnFigure) -> str:
    return " ".join(drawn.figure.get_supxlabel().split())


def labels(drawn: DrawnFigure) -> list[str]:
    return [text.get_text() for legend in drawn.figure.legends for text in legend.get_texts()]


def test_matching_is_the_mean_over_pairs_with_an_interval_over_networks() -> None:
    drawn = draw("stitch-matching", {"table": stitches(lambda front, back, place: 0.1 * (front + back) + place)})
    curve = means(drawn, "accuracy relative to the back network", "task loss")
    assert curve["y"].to_dict() == pytest.approx({"bn1": 0.2, "bn2": 1.2, "bn3": 2.2})
    half = t.ppf(0.975, 2) * 0.2 / math.sqrt(3)  # each network brings 0.2 times its number, over three networks
    assert list(curve["high"] - curve["y"]) == pytest.approx([half] * 3)
    assert (set(curve["pairs"]), set(curve["networks"])) == ({6}, {3})
    assert "n = 6 ordered pairs of 3 networks" in said(drawn)
    assert "leaves out one network at a time" in said(drawn)


def test_a_band_ends_where_no_value_can_be_and_the_numbers_keep_the_interval() -> None:
    drawn = draw("stitch-matching", {"table": stitches(lambda front, back, place: 0.9 - 0.15 * (front + back) * place)})
    divergence = means(drawn, "KL divergence from the back network (nats)", "task loss")
    assert divergence["low"].min() < -0.2
    axes = drawn.figure.axes[1]
    (band,) = axes.collections
    assert band.get_paths()[0].vertices[:, 1].min() == 0.0
    assert axes.get_ylim()[0] == 0.0
    assert "drawn as far as values are possible" in said(drawn)
    narrow = draw("stitch-matching", {"table": stitches(lambda front, back, place: 0.5 + 0.001 * (front + back))})
    assert "as far as" not in said(narrow)


@pytest.mark.parametrize(
    ("relative_to", "quantity", "shift"),
    [
        ("back", "accuracy relative to the back network", 0.0),
        ("front", "accuracy relative to the front network", 0.01),
        ("chance", "accuracy above chance, relative to the back network", -0.02),
    ],
)
def test_accuracy_is_relative_to_what_was_asked_for(relative_to: str, quantity: str, shift: float) -> None:
    drawn = draw("stitch-matching", {"table": stitches(lambda *_: 0.5)}, {"relative_to": relative_to})
    assert list(means(drawn, quantity, "task loss")["y"]) == pytest.approx([0.5 + shift] * 3)


def test_direct_matching_stands_beside_the_task_loss_in_the_order_of_depth() -> None:
    trained = stitches(lambda *_: 0.9).sort_values("front_layer", ascending=False)
    drawn = draw("stitch-matching", {"table": trained, "direct": matches()}, {"error": "cross_entropy"})
    entropy = "cross-entropy to the back network (nats)"
    assert means(drawn, entropy, "least squares")["y"].to_dict() == pytest.approx(dict.fromkeys(LAYERS, 1.7))
    assert means(drawn, entropy, "task loss")["x"].to_dict() == {"bn1": 0, "bn2": 1, "bn3": 2}
    assert labels(drawn) == ["task loss", "least squares"]
    left, right = drawn.figure.axes
    assert [text.get_text() for text in left.get_xticklabels()] == list(LAYERS)
    dashes = [
        {line.get_linestyle() for line in axes.get_lines() if line.get_marker() != "None"} for axes in (left, right)
    ]
    assert dashes == [{"--"}, {"-"}]


def test_pairs_are_told_apart_by_what_both_tables_have() -> None:
    numbers = draw("stitch-matching", {"table": stitches(lambda *_: 0.9), "direct": matches()}).numbers
    single = numbers.loc[numbers["kind"] == "pair"].groupby("series")["run"].unique()
    assert set(single["task loss"]) == set(single["least squares"]) == {
        f"in{front}-gn{front}→in{back}-gn{back}" for front, back in pairs(3)
    }  # fmt: skip


def test_two_networks_have_two_pairs_and_no_interval() -> None:
    drawn = draw("stitch-matching", {"table": stitches(lambda *_: 0.5, networks=2)})
    assert drawn.numbers["low"].isna().all()
    assert "at least three networks" in said(drawn)
    assert set(drawn.numbers.loc[drawn.numbers["kind"] == "pair", "run"]) == {"0→1", "1→0"}


def test_one_pair_is_said_to_be_one() -> None:
    table = stitches(lambda *_: 0.5, networks=2).iloc[:3]
    assert "One pair of networks." in said(draw("stitch-matching", {"table": table}))


def test_missing_stitches_are_named_with_their_layer() -> None:
    table = stitches(lambda *_: 0.5)
    failed = (table["key"] == "01bn2") | (table["key"] == "21bn2")
    table.loc[failed, "status"] = "failed"
    table.loc[failed, ["relative_accuracy", "kl", "depth"]] = None
    drawn = draw("stitch-matching", {"table": table})
    assert "Missing: task loss (bn2: 4 of 6 pairs)" in said(drawn)
    assert means(drawn, "accuracy relative to the back network", "task loss")["pairs"].to_dict()["bn2"] == 4
    assert [text.get_text() for text in drawn.figure.axes[0].get_xticklabels()] == list(LAYERS)


def test_a_copy_in_jpeg_is_said_to_be_one() -> None:
    table = stitches(lambda *_: 0.5)
    assert "JPEG" not in said(draw("stitch-matching", {"table": table}))
    assert "JPEG" in said(draw("stitch-matching", {"table": table.assign(lossy_images=True)}))


def test_curves_that_were_not_told_apart_are_refused_by_what_differs() -> None:
    table = pandas.concat(
        [stitches(lambda *_: 0.5, init=init, l1=l1) for init, l1 in (("random", 0.0), ("ps_inv", 1.0))]
    )
    with pytest.raises(FigureError, match="The rows differ in: init, l1"):
        draw("stitch-matching", {"table": table})
    drawn = draw("stitch-matching", {"table": table}, {"by": ["init", "l1"]})
    assert labels(drawn) == ["random, l1=0", "ps_inv, l1=1"]


def test_seeds_of_one_stitch_are_averaged() -> None:
    table = pandas.concat([stitches(lambda *_, seed=seed: 0.4 + 0.2 * seed, seed=seed) for seed in (0, 1)])
    curve = means(draw("stitch-matching", {"table": table}), "accuracy relative to the back network", "task loss")
    assert list(curve["y"]) == pytest.approx([0.5] * 3)
    assert set(curve["pairs"]) == {6}


def test_names_of_residual_layers_are_shortened_and_explained() -> None:
    layers = ("bn1", "layer1.0.add", "layer1.1.add")
    drawn = draw("stitch-matching", {"table": stitches(lambda *_: 0.5, layers=layers)})
    axes = drawn.figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["bn1", "1.0", "1.1"]
    assert axes.get_xlabel() == "layer (1.0 is layer1.0.add)"
    assert set(drawn.numbers["layer"]) == set(layers)


def test_similarity_shows_values_and_what_the_task_changes_pair_by_pair() -> None:
    trained = stitches(lambda front, back, place: 0.8 + 0.01 * front)
    drawn = draw("stitch-similarity", {"table": trained, "direct": matches(lambda front, back, place: 0.01 * front)})
    quantity = "linear CKA with the back network"
    assert list(means(drawn, quantity, "task loss")["y"]) == pytest.approx([1 - 0.81 / 2] * 3)
    assert list(means(drawn, quantity, "as they are")["y"]) == [0.25] * 3
    change = means(drawn, f"difference of {quantity}", "task loss")
    assert list(change["y"]) == pytest.approx([-0.1] * 3)
    assert list(change["high"] - change["low"]) == pytest.approx([0.0] * 3, abs=1e-9)  # the same in every pair
    assert "task loss minus least squares" in said(drawn)


def test_without_direct_matching_the_change_is_that_of_training() -> None:
    table = stitches(lambda *_: 0.8).assign(initial_cka=0.5, initial_kl=0.3)
    drawn = draw("stitch-similarity", {"table": table})
    change = means(drawn, "difference of linear CKA with the back network", "task loss")
    assert list(change["y"]) == pytest.approx([0.1] * 3)
    assert labels(drawn) == ["task loss", "before training", "as they are"]


def test_the_course_of_training_takes_settings_from_the_table_of_its_stage() -> None:
    rows = pandas.concat([stitches(lambda *_: 0.5, layers=["bn3"], cka_reg=weight) for weight in (0.0, 2.0)])
    course = pandas.concat([
        rows[["key"]].assign(iteration=step, cka=0.9 - rows["cka_reg"] * step / 100, accuracy=0.7) for step in (0, 10)
    ])  # fmt: skip
    drawn = draw("stitch-training", {"table": course, "rows": rows}, {"by": "cka_reg"})
    curve = drawn.numbers.loc[(drawn.numbers["kind"] == "mean") & (drawn.numbers["series"] == "cka_reg=2")]
    values = curve.loc[curve["quantity"].str.startswith("linear CKA")].set_index("x")["y"]
    assert values.to_dict() == pytest.approx({0: 0.9, 10: 0.7})
    assert list(dict.fromkeys(drawn.numbers["quantity"])) == ["linear CKA with the back network", "accuracy (share)"]
    with pytest.raises(FigureError, match="needs one of the columns"):
        draw("stitch-training", {"table": course[["key", "iteration"]], "rows": rows})


def test_ranks_have_a_panel_for_every_layer_and_full_rank_is_a_line_across() -> None:
    low = [stitches(lambda *_, rank=rank: 0.5 - 1 / rank, method="reduced-rank", rank=rank) for rank in (4, 8)]
    table = pandas.concat([matches(rank=None), *low])
    trained = pandas.concat([stitches(lambda *_: 0.8, rank=4), stitches(lambda *_: 0.9, rank=None)])
    drawn = draw("stitch-rank", {"table": table, "stitched": trained})
    numbers = drawn.numbers
    curve = numbers.loc[
        (numbers["kind"] == "mean") & (numbers["series"] == "reduced rank") & (numbers["layer"] == "bn2")
    ]
    assert curve.set_index("x")["y"].to_dict() == pytest.approx({4: 0.25, 8: 0.375})
    across = numbers.loc[(numbers["kind"] == "level") & (numbers["layer"] == "bn1")].set_index("series")["y"]
    assert across.to_dict() == pytest.approx({"rotation": 0.5, "least squares": 0.6, "task loss, full rank": 0.9})
    assert [axes.get_title() for axes in drawn.figure.axes] == list(LAYERS)
    with pytest.raises(FigureError, match="no row with a rank"):
        draw("stitch-rank", {"table": matches(rank=None)})


def test_sparsity_is_where_a_penalty_leads_on_average() -> None:
    parts = [
        stitches(lambda *_, l1=l1: 0.9 - l1, layers=["bn1"], l1=l1).assign(
            sparsity=[10 * l1 + 0.01 * k for k in range(6)]
        )
        for l1 in (0.01, 0.05)
    ]
    rows = pandas.concat(parts)
    table = pandas.concat(
        [rows[["key", "sparsity", "relative_accuracy"]].assign(threshold=size) for size in (0.0, 1e-4)]
    )
    direct = stitches(lambda *_: 0.7, layers=["bn1"], method="sparse", penalty=0.1).assign(sparsity=0.5)
    numbers = draw("stitch-sparsity", {"table": table, "rows": rows, "direct": direct}).numbers
    curve = (
        numbers.loc[numbers["kind"] == "mean"]
        .groupby("series")[["strength", "x", "y"]]
        .apply(lambda part: part.values.tolist())
    )
    assert curve["task loss"] == [pytest.approx([0.01, 0.125, 0.89]), pytest.approx([0.05, 0.525, 0.85])]
    assert curve["sparse"] == [pytest.approx([0.1, 0.5, 0.7])]


def test_interpolation_finds_layer_and_networks_in_the_settings_of_both_stitches() -> None:
    table = pandas.concat([
        stitches(lambda *_, alpha=alpha: 1 - alpha * (1 - alpha), alpha=alpha) for alpha in (0.0, 0.5, 1.0)
    ])  # fmt: skip
    inherited = [column for column in table if column.startswith(("front", "back"))]
    table = table.drop(columns=["depth", "front.init_seed", "back.init_seed"]).rename(
        columns={column: f"first.{column}" for column in inherited}
    )
    drawn = draw("stitch-interpolation", {"table": table})
    middle = drawn.numbers.loc[(drawn.numbers["kind"] == "mean") & (drawn.numbers["x"] == 0.5)]
    assert list(middle["y"]) == pytest.approx([0.75] * 3)
    assert set(middle["networks"]) == {3}


def test_the_grid_of_masks_has_every_pair_at_every_layer() -> None:
    parts = [stitches(lambda front, back, place: front + 10 * place, mask="semi-match", init="ps_inv", seed=0)]
    parts += [stitches(lambda *_, seed=seed: seed, mask="semi-match", init="random", seed=seed) for seed in (0, 1, 2)]
    table = pandas.concat(parts, ignore_index=True)
    table = table.loc[~((table["key"].str.startswith("02bn3")) & (table["init"] == "ps_inv"))]
    drawn = draw("stitch-masks", {"table": table})
    first, second = drawn.figure.axes[:2]
    grid = numpy.asarray(first.images[0].get_array().filled(numpy.nan))
    assert grid.shape == (7, 3)  # six pairs and their mean
    assert grid[0].tolist() == [0.0, 10.0, 20.0]
    assert math.isnan(grid[1, 2])
    assert grid[6].tolist() == pytest.approx([1.0, 11.0, 20 + 6 / 5])
    assert numpy.asarray(second.images[0].get_array()).tolist() == [[1.0] * 3] * 7
    assert (first.get_title(), second.get_title()) == ("ps_inv", "random")
    assert "Mean over seeds of the stitch: 3 for random." in said(drawn)
    assert "Missing: ps_inv (bn3: 5 of 6 pairs)" in said(drawn)


def test_matrices_tell_a_network_with_itself_from_a_network_with_another() -> None:
    rows = [
        {
            "front.seed": front,
            "back.seed": back,
            "status": "done",
            "front_layer": one,
            "back_layer": other,
            "depth": LAYERS.index(one),
            "relative_accuracy": 1.0 if front == back else 0.5 + 0.1 * LAYERS.index(other),
        }
        for front, back in itertools.product(range(3), repeat=2)
        for one, other in itertools.product(LAYERS, repeat=2)
    ]
    drawn = draw("stitch-matrix", {"table": pandas.DataFrame(rows)})
    panels = {axes.get_title(): axes for axes in drawn.figure.axes if axes.get_title()}
    other = numpy.asarray(panels["a network with another"].images[0].get_array())
    assert other.tolist() == [pytest.approx([0.5, 0.6, 0.7])] * 3
    assert set(numpy.asarray(panels["a network with itself"].images[0].get_array()).ravel()) == {1.0}
    assert "Missing" not in said(drawn)


def test_width_is_read_from_names_and_averaged_over_layers() -> None:
    parts = []
    for width in (1, 2):
        name = {"front.model.name": f"resnet20_w{width}", "back.model.name": f"resnet20_w{width}"}
        parts.append(stitches(lambda front, back, place, width=width: 1 - 1 / width + 0.1 * place, **name))
    drawn = draw("stitch-width", {"table": pandas.concat(parts)}, {"width": "front.model.name"})
    average = drawn.numbers.loc[drawn.numbers["quantity"].str.endswith("mean over layers")]
    values = average.loc[average["kind"] == "mean"].set_index("x")
    assert values["y"].to_dict() == pytest.approx({1: 0.1, 2: 0.6})
    assert values["networks"].to_dict() == {1: 3, 2: 3}
    assert means(drawn, "accuracy relative to the back network", "width 2")["y"]["bn3"] == pytest.approx(0.7)
    assert "Missing" not in said(drawn)


def test_the_budget_adds_up_to_what_is_reached() -> None:
    trained = stitches(lambda front, back, place: 0.9 if place else 0.55)
    drawn = draw("difference-budget", {"table": matches(), "stitched": trained})
    quantity = "accuracy relative to the back network"
    steps = ["identity", "permutation", "rotation", "least squares", "task loss"]
    at = {name: means(drawn, quantity, name)["y"] for name in steps}
    assert [at[name]["bn2"] for name in steps] == pytest.approx([0.1, 0.2, 0.2, 0.1, 0.3])
    assert at["task loss"]["bn1"] == pytest.approx(-0.05)
    reached = means(drawn, quantity, "reached with task loss")["y"]
    assert sum(at[name]["bn3"] for name in steps) == pytest.approx(reached["bn3"]) == 0.9
    variance = means(drawn, "explained variance of the activation (share)", "identity")["y"]
    assert list(variance) == pytest.approx([0.0] * 3)


def test_a_step_that_leads_down_is_hatched_and_called_no_gain() -> None:
    down = draw("difference-budget", {"table": matches(), "stitched": stitches(lambda *_: 0.4)})
    bars = [bar for axes in down.figure.axes for bar in axes.patches]
    assert {round(bar.get_height(), 6) for bar in bars if bar.get_hatch()} == {-0.2}
    assert "Hatched: a step that leads down" in said(down)
    up = draw("difference-budget", {"table": matches(), "stitched": stitches(lambda *_: 0.95)})
    assert "Hatched" not in said(up)


def test_a_pair_without_a_step_is_in_no_step_of_the_budget() -> None:
    table = matches(lambda front, back, place: 0.1 * front)
    table = table.loc[~((table["method"] == "orthogonal") & (table["key"].str.startswith("20")))]
    drawn = draw("difference-budget", {"table": table})
    steps = means(drawn, "accuracy relative to the back network", "permutation")
    assert set(steps["pairs"]) == {5}
    assert list(steps["y"]) == pytest.approx([0.2] * 3)
    assert "rotation (5 of 6 pairs)" in said(drawn)
    with pytest.raises(FigureError, match="no rows of the method 'ridge'"):
        draw("difference-budget", {"table": table}, {"steps": ["identity", "ridge"]})


def test_an_identity_far_below_the_mean_does_not_squeeze_the_budget_of_variance() -> None:
    table = matches()
    table.loc[table["method"] == "identity", "r2"] = -7.5
    drawn = draw("difference-budget", {"table": table})
    assert drawn.figure.axes[1].get_ylim()[0] == pytest.approx(-1.05)
    assert "identity goes to -7.5" in said(drawn)


FIGURES = [
    "stitch-matching",
    "stitch-similarity",
    "stitch-training",
    "stitch-rank",
    "stitch-sparsity",
    "stitch-interpolation",
    "stitch-masks",
    "stitch-matrix",
    "stitch-width",
    "difference-budget",
]


@pytest.mark.parametrize("name", FIGURES)
def test_a_table_without_the_columns_is_refused_by_name(name: str) -> None:
    with pytest.raises(FigureError, match="The table 'table' needs"):
        draw(name, {"table": pandas.DataFrame({"front_layer": ["bn1"], "other": [2]})})


@pytest.mark.parametrize("name", ["stitch-matching", "difference-budget"])
def test_equal_tables_give_equal_bytes(name: str) -> None:
    tables = {"table": matches()}
    assert draw(name, tables).image("png") == draw(name, tables).image("png")
