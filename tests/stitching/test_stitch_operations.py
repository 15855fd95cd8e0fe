"""The operations, as studies call them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from weightscape.errors import WeightscapeError
from weightscape.models.building import build_model
from weightscape.operation import Context, find_operation
from weightscape.stitching.line_result import StitchLine
from weightscape.stitching.operations import stitched_architecture
from weightscape.stitching.result import StitchResult
from weightscape.stitching.settings import StitchSpec
from weightscape.weights.algebra import Weights, weights_of

CNN = {"name": "cnn", "channels": 4, "depth": 2}
MLP = {"name": "mlp", "hidden": [12, 10], "bias": True}


def weights(model: dict[str, Any], seed: int) -> Weights:
    return weights_of(build_model(model, shape=(1, 8, 8), classes=10, seed=seed))


def call(name: str, **settings: Any) -> dict[str, Any]:
    """The checked settings of an operation as its function takes them."""
    checked = find_operation(name).settings(**settings)
    return {key: getattr(checked, key) for key in type(checked).model_fields}


def stitch_call(**settings: Any) -> dict[str, Any]:
    common = {"front_model": CNN, "back_model": CNN, "data": "digits", "front_layer": "conv1", "epochs": 1, "probe": 50}
    return call("stitch", **{**common, **settings})


def test_the_schema_loads_no_heavy_library() -> None:
    program = (
        "import sys; from weightscape.operation import find_operation; find_operation('stitch').settings; "
        "find_operation('stitch').outputs; find_operation('interpolate-stitches').settings; "
        "print([name for name in ('torch', 'numpy', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_the_network_is_the_only_output_that_is_weights() -> None:
    outputs = find_operation("stitch").outputs
    assert [name for name, kind in outputs.items() if kind == "Weights"] == ["network"]
    assert set(outputs) - {"network"} == {
        "epochs", "iterations", "thresholds", "matrix", "biases", "singular_values",
    }  # fmt: skip


def test_defaults_of_the_operation_and_of_the_library_are_the_same() -> None:
    given = stitch_call(front_layer="bn3", epochs=30)
    spec = StitchSpec(**{name: given[name] for name in StitchSpec.model_fields})
    assert spec == StitchSpec(front_layer="bn3")


@pytest.mark.parametrize(
    ("front_model", "back_model", "options"),
    [
        (CNN, CNN, {"front_layer": "conv1"}),
        (CNN, {**CNN, "channels": 6}, {"front_layer": "conv1", "rank": 2}),
        (CNN, CNN, {"front_layer": "conv0", "back_layer": "act1", "flatten": True, "init": "random"}),
        (CNN, MLP, {"front_layer": "pool1", "back_layer": "linear2:input", "flatten": True}),
        (MLP, MLP, {"front_layer": "linear1"}),
        ({**CNN, "depth": 4}, CNN, {"front_layer": "conv3", "back_layer": "conv1", "resize": "bilinear"}),
    ],
)
def test_the_stitched_network_can_be_used_as_any_other(
    front_model: dict[str, Any], back_model: dict[str, Any], options: dict[str, Any]
) -> None:
    given = stitch_call(front_model=front_model, back_model=back_model, **options)
    result = find_operation("stitch")(weights(front_model, 0), weights(back_model, 1), **given, context=Context())
    assert isinstance(result, StitchResult)
    plain = find_operation("stitch").settings(**given).model_dump(mode="json")
    again = call("evaluate", model=stitched_architecture(plain), data="digits")
    found = find_operation("evaluate")(result.network, **again, context=Context())
    assert found.metrics()["accuracy"] == result.accuracy
    assert found.metrics()["loss"] == pytest.approx(result.loss, abs=1e-5)


def test_tasks_of_several_pairs_together_are_those_alone(tmp_path: Path) -> None:
    nets = [weights(CNN, seed) for seed in range(3)]
    calls = [
        {"front": nets[0], "back": nets[1], **stitch_call()},
        {"front": nets[1], "back": nets[2], **stitch_call(init="random", seed=5)},
        {"front": nets[0], "back": nets[1], **stitch_call(front_layer="nowhere")},
        {"front": nets[0], "back": nets[1], **stitch_call(front_layer="conv0", rank=2)},
        {"front": nets[0], "back": weights(MLP, 0), **stitch_call()},
    ]
    made: dict[int, Any] = {}
    shares: list[float] = []
    together = find_operation("stitch").together
    assert together is not None
    context = Context(partial=tmp_path, progress=lambda share, text: shares.append(share))
    together.compute(calls, context=context, publish=lambda number, result, how: made.update({number: result}))
    assert sorted(made) == [0, 1, 2, 3, 4]
    assert isinstance(made[2], WeightscapeError)
    assert "The back network: The weights do not fit the model" in str(made[4])
    assert shares == sorted(shares)
    for number in (0, 1, 3):
        alone = find_operation("stitch")(
            *(calls[number][side] for side in ("front", "back")),
            **{name: value for name, value in calls[number].items() if name not in {"front", "back"}},
            context=Context(),
        )
        assert isinstance(alone, StitchResult)
        assert alone.metrics() == made[number].metrics()
        assert all(torch.equal(tensor, made[number].network[name]) for name, tensor in alone.network.items())


def test_stitches_are_computed_together_on_every_device() -> None:
    together = find_operation("stitch").together
    assert together is not None
    labels = {
        together.label(find_operation("stitch").settings(**stitch_call(**one)))
        for one in ({}, {"front_layer": "conv0", "seed": 3, "l1": 1.0, "rank": 2, "epochs": 7})
    }
    assert len(labels) == 1
    other = find_operation("stitch").settings(**stitch_call(data={"name": "digits", "fraction": 0.5}))
    assert together.label(other) not in labels
    assert all(together.is_wanted(device, "auto") for device in ("cpu", "cuda:1"))


def test_a_failed_stitch_raises_when_it_is_alone() -> None:
    with pytest.raises(WeightscapeError, match="no layer 'nowhere'"):
        find_operation("stitch")(
            weights(CNN, 0), weights(CNN, 1), **stitch_call(front_layer="nowhere"), context=Context()
        )


def test_the_line_between_two_stitches_is_an_operation() -> None:
    nets = [weights(CNN, seed) for seed in (0, 1)]
    made = [
        find_operation("stitch")(*nets, **stitch_call(epochs=0, init=init), context=Context())
        for init in ("ps_inv", "random")
    ]
    plain = find_operation("stitch").settings(**stitch_call()).model_dump(mode="json")
    model = stitched_architecture(plain)
    given = call("interpolate-stitches", first_model=model, second_model=model, back_model=CNN, data="digits", points=3)
    networks = [getattr(result, "network") for result in made]  # noqa: B009 (a field of this result)
    line = find_operation("interpolate-stitches")(*networks, nets[1], **given, context=Context())
    assert isinstance(line, StitchLine)
    assert line.first_accuracy == made[0].metrics()["accuracy"]
    assert line.second_accuracy == made[1].metrics()["accuracy"]
    assert line.line["kl"].notna().all()
    with pytest.raises(WeightscapeError, match="back_model"):
        find_operation("interpolate-stitches")(*networks, nets[1], **{**given, "back_model": None}, context=Context())
