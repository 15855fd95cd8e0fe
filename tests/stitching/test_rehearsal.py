"""Layers that cannot be stitched or compared are found in the architectures, before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from weightscape.errors import Problem, SpecificationError
from weightscape.operation import Operation, find_operation
from weightscape.recipes import find_recipe
from weightscape.studies.planning import plan_study
from weightscape.studies.rehearsing import rehearse
from weightscape.studies.specification import load_study
from weightscape.studies.workspace.store import Store

CNN = {"name": "cnn", "channels": 4, "depth": 4, "pool_every": 2}
WIDE = {**CNN, "channels": 8}
OWN = "tests.stitching.networks_of_others.Small"
MIXED = {"name": "stitched", "front": OWN, "back": CNN, "front_layer": "conv", "back_layer": "conv0"}


def settings(name: str, **given: Any) -> tuple[Operation, Any]:
    found = find_operation(name)
    inputs = {f"{name}_model": CNN for name in found.inputs} if len(found.inputs) > 1 else {"model": CNN}
    return found, found.settings(**{"data": "digits", **inputs, **given})


def wrong(name: str, **given: Any) -> list[Problem]:
    found, checked = settings(name, **given)
    assert found.rehearsal is not None
    return list(found.rehearsal.problems(checked))


def places(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(problem.where, problem.received) for problem in problems]


def test_a_layer_that_does_not_exist_is_one_problem_with_the_closest_name() -> None:
    (problem,) = wrong("stitch", front_layer="conv33")
    assert (problem.where, problem.received) == ("front_layer", "'conv33'")
    assert "Did you mean 'conv3'?" in problem.remedy


def test_both_layers_are_looked_for_each_in_its_own_network() -> None:
    assert places(wrong("stitch", front_layer="conv9", back_layer="fcc")) == [
        ("front_layer", "'conv9'"), ("back_layer", "'fcc'"),
    ]  # fmt: skip
    mlp = {"name": "mlp", "hidden": [5]}
    assert places(wrong("stitch", front_layer="fc", back_layer="fc", back_model=mlp)) == [("back_layer", "'fc'")]


def test_a_pattern_of_several_layers_is_no_place_for_a_stitch() -> None:
    (problem,) = wrong("stitch", front_layer="conv*")
    assert "conv0, conv1, conv2, conv3" in problem.remedy


def test_shapes_that_cannot_be_stitched_are_both_named() -> None:
    (problem,) = wrong("stitch", front_layer="conv0", back_layer="conv2")
    assert (problem.where, problem.received) == ("back_layer", "conv0 and conv2")
    assert "(4, 8, 8)" in problem.remedy
    assert "(4, 4, 4)" in problem.remedy


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"back_layer": "fc"}, "one has pixels"),
        ({"rank": 9}, "a rank from 1 to 4"),
        ({"back_layer": "conv2", "resize": "keep"}, "pixel by pixel"),
        ({"back_model": WIDE, "init": "eye"}, "'eye' needs equal numbers of channels"),
        ({"back_model": WIDE, "init": "perm"}, "equal numbers of channels"),
        ({"back_model": WIDE, "init": "random", "mask": "random-permutation"}, "equal numbers of channels"),
    ],
)
def test_whatever_the_shapes_forbid_is_found(given: dict[str, Any], said: str) -> None:
    (problem,) = wrong("stitch", front_layer="conv0", **given)
    assert said in problem.remedy


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"back_layer": "conv2", "resize": "bilinear"},
        {"back_layer": "conv2", "resize": "keep", "init": "random"},
        {"back_layer": "fc", "flatten": True},
        {"back_model": WIDE},
        {"back_model": WIDE, "init": "random", "mask": "semi-match"},
        {"front_model": "tiny10", "back_model": "tiny10", "data": "cifar10", "front_layer": "bn1", "flatten": True},
    ],
)
def test_what_can_be_stitched_is_not_refused(given: dict[str, Any]) -> None:
    assert wrong("stitch", **{"front_layer": "conv0", **given}) == []


def test_every_layer_that_cannot_be_matched_is_named() -> None:
    assert places(wrong("direct-matching", layers="conv9, conv0, bm*", back_layers="fcc")) == [
        ("layers", "'conv9'"), ("layers", "'bm*'"), ("back_layers", "'fcc'"),
    ]  # fmt: skip
    (problem,) = wrong("direct-matching", layers="conv0", back_layers="conv2")
    assert problem.where == "back_layers"
    assert "(4, 8, 8)" in problem.remedy
    assert "(4, 4, 4)" in problem.remedy
    assert wrong("direct-matching", layers="conv*", back_layers="conv*") == []


def test_a_layer_that_only_the_front_network_has_cannot_be_matched_with_its_namesake() -> None:
    (problem,) = wrong("direct-matching", layers="conv3", back_model={**CNN, "depth": 2})
    assert "The back network: The model has no layer 'conv3'" in problem.remedy


def test_layers_to_compare_are_looked_for_in_both_networks() -> None:
    assert places(wrong("compare", layers=["conv*", "act9"], target_layers="fcc")) == [
        ("layers", "'act9'"), ("target_layers", "'fcc'"),
    ]  # fmt: skip
    shallow = {**CNN, "depth": 2}
    assert places(wrong("compare", layers="act9", source_model=CNN, target_model=CNN)) == [("layers", "'act9'")]
    (problem,) = wrong("compare", layers="conv3", target_model=shallow)
    assert problem.expected == "layers of the target network"


def test_layers_to_represent_exist() -> None:
    assert places(wrong("represent", layers="conv*, bn*")) == [("layers", "'bn*'")]
    assert wrong("represent", layers="all") == []


@pytest.mark.parametrize(
    "given",
    [
        {"source_model": None, "target_model": None, "data": None},
        {"data": "somewhere/images"},
        {"source_model": "lenet", "target_model": "lenet"},
        {"source_model": f"{OWN}Odd", "target_model": f"{OWN}Odd"},
        {"source_model": MIXED, "target_model": MIXED},
    ],
    ids=["stored", "own-data", "network-that-takes-no-such-images", "needs-numbers", "stitched-of-own"],
)
def test_what_cannot_be_known_is_left_to_the_task(given: dict[str, Any]) -> None:
    assert wrong("compare", layers="conv33", **given) == []


def test_of_two_networks_the_one_that_is_known_is_tried_out() -> None:
    problems = wrong("stitch", front_layer="conv33", back_layer="conv44", back_model=f"{OWN}Odd")
    assert places(problems) == [("front_layer", "'conv33'")]


def test_layers_of_a_network_of_the_users_own_are_looked_for() -> None:
    (problem,) = wrong("represent", model=OWN, layers="convv")
    assert "Did you mean 'conv'?" in problem.remedy


def test_layers_of_a_stitched_network_are_looked_for() -> None:
    stitched = {"name": "stitched", "front": CNN, "back": CNN, "front_layer": "conv1", "back_layer": "conv1"}
    assert places(wrong("represent", model=stitched, layers="stitch, front.conv1, front.conv3")) == [
        ("layers", "'front.conv3'")
    ]


@pytest.mark.parametrize("name", ["stitch", "direct-matching", "compare", "represent"])
def test_what_is_looked_at_is_a_setting(name: str) -> None:
    found = find_operation(name)
    assert found.rehearsal is not None
    assert set(found.rehearsal.looks_at) <= set(found.settings.model_fields)


@pytest.mark.parametrize("name", ["digits-similarity", "digits-stitching"])
def test_bundled_studies_ask_for_nothing_that_is_not_there(name: str, tmp_path: Path) -> None:
    rehearse(plan_study(load_study(find_recipe(name))), Store(tmp_path), here=True)


def test_all_layers_of_a_study_are_refused_together_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "study: wrong\nstages:\n"
        "  trained:\n    run: train\n    with: {data: digits, model: {name: cnn, depth: 2, pool_every: 1}}\n"
        "    grid: {seed: [0, 1]}\n"
        "  stitched:\n    run: stitch\n    from: {front: trained@last, back: trained@last}\n"
        "    where: front.seed < back.seed\n"
        "    grid: {front_layer: [conv0, conv33], back_layer: [conv0, conv1], seed: [0, 1]}\n"
        "  shown: {run: represent, from: trained@last, with: {layers: 'conv*, bn*'}}\n"
    )
    with pytest.raises(SpecificationError) as caught:
        rehearse(plan_study(load_study(path)), Store(tmp_path / "runs"), here=True)
    assert [problem.where.partition(" ")[2] for problem in caught.value.problems] == [
        "(stages.stitched.grid.back_layer.1)", "(stages.stitched.grid.front_layer.1)", "(stages.shown.with.layers)",
    ]  # fmt: skip
    assert not (tmp_path / "runs").exists()
