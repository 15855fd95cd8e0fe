"""Direct matching as studies call it, and beside the stitches that are trained."""

from __future__ import annotations

import copy
import inspect
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from weightscape.data.dataset import Dataset
from weightscape.errors import ModelError
from weightscape.models.building import build_model
from weightscape.operation import Context, find_operation
from weightscape.stitching.direct.networks import stitch_directly
from weightscape.stitching.direct.result import DirectMatching
from weightscape.stitching.direct.settings import Method
from weightscape.stitching.task_loss import train_stitch
from weightscape.weights.algebra import Weights, weights_of

CNN = {"name": "cnn", "channels": 4, "depth": 2}


def weights(seed: int, **options: Any) -> Weights:
    return weights_of(build_model({**CNN, **options}, shape=(1, 8, 8), classes=10, seed=seed))


def matched(front: Weights, back: Weights, **settings: Any) -> DirectMatching:
    operation = find_operation("direct-matching")
    checked = operation.settings(**{"front_model": CNN, "back_model": CNN, "data": "digits", **settings})
    given = {name: getattr(checked, name) for name in type(checked).model_fields}
    found = operation(front, back, **given, context=Context())
    assert isinstance(found, DirectMatching)
    return found


def test_the_schema_loads_no_heavy_library() -> None:
    program = (
        "import sys; from weightscape.operation import find_operation; found = find_operation('direct-matching'); "
        "found.settings, found.outputs; "
        "print([name for name in ('torch', 'numpy', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_defaults_of_the_operation_and_of_the_library_are_the_same() -> None:
    library = inspect.signature(stitch_directly).parameters
    fields = find_operation("direct-matching").settings.model_fields
    shared = set(library) & set(fields) - {"layers"}
    assert shared == set(fields) - {"layers", "front_model", "back_model", "data"}
    assert all(fields[name].default == library[name].default for name in shared)


def test_layers_and_methods_may_be_written_with_commas() -> None:
    found = matched(weights(0), weights(1), layers="conv0, conv1", methods="orthogonal,sparse", l1=2, probe=20)
    assert found.matches.groupby("method").size().to_dict() == {"orthogonal": 2, "sparse": 4}
    assert found.matches["front_layer"].unique().tolist() == ["conv0", "conv1"]
    penalties = matched(weights(0), weights(1), layers="conv1", methods=["sparse"], l1=[0.5, 0.1], probe=20).matches
    assert penalties["penalty"].tolist() == [0.5, 0.1]
    assert find_operation("direct-matching").outputs == {"matches": "Table"}
    metrics = found.metrics()
    assert metrics["pairs"] == 2
    assert metrics["stitches"] == 6
    assert metrics["probe_images"] == 20


def test_weights_of_another_network_are_named_with_the_side() -> None:
    with pytest.raises(ModelError, match=r"back network: The weights do not fit the model: conv0.weight has shape"):
        matched(weights(0), weights(1, channels=5), layers="conv1")


def test_a_trained_stitch_begins_where_direct_matching_ends(digits: Dataset, front: nn.Module, back: nn.Module) -> None:
    direct = stitch_directly(front, back, digits, "1,3", methods=("least-squares",), probe=100).matches
    for _, row in direct.iterrows():
        begun = train_stitch(front, back, digits, row["front_layer"], init="ps_inv", epochs=0, probe=100)
        values = begun.metrics()
        assert values["depth"] == row["depth"]
        for name in ("accuracy", "agreement", "both_right", "only_stitched_right", "only_back_right", "count"):
            assert values[name] == row[name], name
        for name in ("loss", "kl", "cross_entropy", "cka", "cka_debiased", "cka_unstitched", "l2", "r2"):
            assert values[name] == pytest.approx(row[name], rel=1e-4, abs=1e-6), name


def test_dead_channels_of_either_network_hurt_no_method(digits: Dataset, front: nn.Module, back: nn.Module) -> None:
    copies = []
    for network, channel in zip((front, back), (0, 3), strict=True):
        dead = copy.deepcopy(network)
        with torch.no_grad():
            dead.get_parameter("1.weight")[channel] = 0
            dead.get_parameter("1.bias")[channel] = 0.7
        copies.append(dead)
    methods: tuple[Method, ...] = (
        "permutation", "semi-match", "abs-semi-match", "orthogonal", "orthogonal-centred", "least-squares", "ridge",
        "reduced-rank", "sparse",
    )  # fmt: skip
    found = stitch_directly(*copies, digits, "1", methods=methods, ranks=(2,), ridge=(0.1,), l1=3, probe=50)
    numbers = found.matches[["accuracy", "kl", "r2", "l2", "cka", "cka_debiased", "loss"]]
    assert numbers.notna().all(axis=None)
    stitches = {stitch.method: stitch for stitch in found.fitted["1", "1"]}
    for method in ("semi-match", "abs-semi-match", "least-squares", "ridge", "reduced-rank", "sparse"):
        assert float(stitches[method].weight[:, 0].abs().max()) < 1e-9  # nothing comes from what is always the same
        assert float(stitches[method].weight[3].abs().max()) < 1e-9
        assert float(stitches[method].bias[3]) == pytest.approx(0.7, abs=1e-5)


def test_networks_that_answer_several_questions_are_scored_by_answers(
    digits: Dataset, front: nn.Module, back: nn.Module
) -> None:
    splits = {
        name: replace(split, labels=nn.functional.one_hot(split.labels, 10).float())
        for name in ("train", "validation", "test")
        for split in [getattr(digits, name)]
    }
    found = stitch_directly(front, back, replace(digits, **splits), "1", methods=("least-squares",), probe=50)
    row = found.matches.iloc[0]
    assert row["count"] == len(digits.test)
    counts = row[["both_right", "only_stitched_right", "only_back_right", "both_wrong"]]
    assert counts.sum() == 10 * len(digits.test)
    assert row["chance"] > 0.85  # no to all ten questions is right nine times in ten


def test_methods_without_ranks_or_penalties_are_found_when_a_study_is_planned() -> None:
    operation = find_operation("direct-matching")
    assert operation.fits is not None
    for options, place in (
        ({"methods": ["ridge"]}, "ridge"),
        ({"methods": ["sparse"], "l1": []}, "l1"),
        ({"ranks": []}, "ranks"),
        ({"methods": []}, "methods"),
    ):
        settings = operation.settings(layers="conv1", front_model=CNN, back_model=CNN, data="digits", **options)
        assert [problem.where for problem in operation.fits(settings)] == [place]
    assert not operation.fits(operation.settings(layers="conv1", front_model=CNN, back_model=CNN, data="digits"))


@pytest.mark.parametrize(
    ("methods", "back_layers", "name"),
    [
        (("permutation", "least-squares"), None, "difference-budget"),
        (("reduced-rank",), None, "stitch-matching"),
        (("least-squares",), "1,2", "stitch-matrix"),
    ],
)
def test_a_result_draws_what_it_is_about(
    methods: tuple[Method, ...],
    back_layers: str | None,
    name: str,
    digits: Dataset,
    front: nn.Module,
    back: nn.Module,
) -> None:
    found = stitch_directly(front, back, digits, "1,2", back_layers, methods=methods, ranks=(2,), probe=30)
    assert found.figure()[0] == name
    figure = found.plot()
    assert figure.axes
