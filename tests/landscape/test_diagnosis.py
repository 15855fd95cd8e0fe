from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import weightscape as ws
from tests.landscape.conftest import shuffled_copy
from weightscape.data.dataset import Dataset
from weightscape.landscape.diagnosis import diagnose
from weightscape.landscape.result import Diagnosis
from weightscape.operation import Context, find_operation
from weightscape.weights.algebra import Weights

MODEL = {"name": "mlp", "hidden": [24]}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return ws.load_data("digits")


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> list[Weights]:
    recipe = ws.Recipe(epochs=2, batch_size=64)
    networks = [ws.build_model(MODEL, shape=digits.shape, classes=10, seed=seed) for seed in (0, 1)]
    return [ws.train_model(network, digits, recipe=recipe, order_seed=0).trajectory.last for network in networks]


def test_a_network_and_its_shuffled_copy_are_the_same_network(digits: Dataset, trained: list[Weights]) -> None:
    model = ws.build_model(MODEL, shape=digits.shape, classes=10)
    model.load_state_dict(trained[0])
    copied, order = shuffled_copy(model, torch.zeros(2, 64))
    found = diagnose(trained[0], copied, model=model, dataset=digits, images=200, points=5)
    assert found.permutation == order
    assert (found.agreement, found.jaccard, found.kappa) == (1, 1, 1)
    assert found.loss_barrier < 1e-6 < found.direct_loss_barrier
    assert found.cosine == pytest.approx(1)
    assert (found.count, found.measured_on, found.recalibrated_on) == (200, "test", "nothing")
    assert set(found.plot().numbers["series"]) == {"direct", "aligned"}
    notes = [replace(found, recalibrated_on=on).figure()[2]["note"] for on in ("nothing", "kept", "other")]
    assert notes[0] == ""
    assert "nearer end" in notes[1]
    assert "training images" in notes[2]


@pytest.mark.parametrize("method", ["weights", "activations"])
def test_the_numbers_are_those_of_the_single_functions(digits: Dataset, trained: list[Weights], method: str) -> None:
    model = ws.build_model(MODEL, shape=digits.shape, classes=10)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = diagnose(*trained, model=model, dataset=digits, split="validation", method=method, points=3)
    align = found.permutation
    barrier = ws.barrier(*trained, digits.validation, model=model, align=align, points=3)
    assert found.loss_barrier == pytest.approx(barrier.loss_barrier)
    assert found.direct_error_barrier == pytest.approx(barrier.direct_error_barrier)
    for weights, accuracy, loss in (
        (trained[0], found.source_accuracy, found.source_loss),
        (trained[1], found.target_accuracy, found.target_loss),
    ):
        network = ws.build_model(MODEL, shape=digits.shape, classes=10)
        network.load_state_dict(weights)
        measured = ws.evaluate(network, digits.validation)
        assert (accuracy, loss) == (pytest.approx(measured.accuracy), pytest.approx(measured.loss, rel=1e-5))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_operation_gives_equal_numbers_each_time(trained: list[Weights]) -> None:
    operation = find_operation("diagnose")
    settings = operation.settings(model=MODEL, data="digits", images=100, points=3)
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    first, second = (operation(*trained, **values, context=Context()) for _ in range(2))
    assert isinstance(first, Diagnosis)
    assert first.metrics() == second.metrics()
    assert first.line.equals(second.line)
    assert operation.outputs == {
        "permutation": "Permutation",
        "line": "Table",
        "heights": "Table",
        "groups": "Table",
        "mistakes": "Table",
    }


def test_impossible_settings_are_refused_together() -> None:
    with pytest.raises(ValidationError) as caught:
        find_operation("diagnose").settings(model="mlp", data="digits", points=1, batch_norm="repair", split="tset")
    assert {problem["loc"][0] for problem in caught.value.errors()} == {"points", "batch_norm", "split"}


def test_the_schema_loads_no_heavy_library() -> None:
    program = (
        "import sys; from weightscape.operation import find_operation; find_operation('diagnose').settings; "
        "print([name for name in ('torch', 'numpy', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


@pytest.mark.slow
def test_published_networks_have_a_barrier_that_alignment_lowers(shared_data: Path) -> None:
    from weightscape.weights.files import load_weights

    data = ws.load_data("cifar10", root=shared_data)
    folder = shared_data / "reference" / "tiny10_cifar10"
    first, second = (load_weights(folder / f"in{seed}-gn{seed}" / "110000.pt") for seed in (0, 1))
    model = ws.build_model("tiny10", shape=data.shape, classes=10)
    found = diagnose(first, second, model=model, dataset=data, images=300, points=3, batch_norm_batches=3)
    assert found.source_accuracy > 0.6
    assert found.error_barrier < found.direct_error_barrier
    assert found.kappa_low > 0  # networks of one architecture fail on the same images
