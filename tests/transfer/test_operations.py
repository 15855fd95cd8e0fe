"""The operation, as studies call it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from weightscape.operation import Context, find_operation
from weightscape.transfer.result import TransferResult
from weightscape.transfer.settings import Settings
from weightscape.weights.trajectory import Trajectory


def test_the_schema_loads_no_heavy_library() -> None:
    program = (
        "import sys; from weightscape.operation import find_operation; find_operation('transfer').settings; "
        "import weightscape.transfer.schedule, weightscape.transfer.clock; "
        "print([name for name in ('torch', 'numpy', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_inputs_and_outputs_are_the_artefacts() -> None:
    operation = find_operation("transfer")
    assert {name: value.artefact for name, value in operation.inputs.items()} == {
        "source": "Trajectory",
        "target": "Trajectory",
    }
    assert operation.outputs == {
        "best": "Weights",
        "last": "Weights",
        "permutation": "Permutation",
        "best_permutation": "Permutation",
        "steps": "Table",
    }


def test_defaults_of_the_operation_and_of_the_library_are_the_same() -> None:
    required = {"model": "mlp", "data": "digits"}
    settings = find_operation("transfer").settings(**required).model_dump(exclude=set(required))
    assert Settings(**settings) == Settings()
    assert settings.keys() == vars(Settings()).keys()


def test_impossible_settings_are_refused_together() -> None:
    with pytest.raises(ValidationError) as caught:
        find_operation("transfer").settings(model="mlp", data="digits", method="gtm", steps=0, batchs=3)
    assert {problem["loc"][0] for problem in caught.value.errors()} == {"method", "steps", "batchs"}


@pytest.mark.parametrize("method", ["fgmt", "oracle"])
def test_the_operation_transfers_between_runs(
    source: Trajectory, other: Trajectory, tmp_path: Path, method: str
) -> None:
    shares: list[float] = []
    operation = find_operation("transfer")
    settings = operation.settings(model={"name": "mlp", "hidden": [32]}, data="digits", method=method, steps=2)
    given = {name: getattr(settings, name) for name in type(settings).model_fields}
    context = Context(partial=tmp_path, progress=lambda share, text: shares.append(share))
    result = operation(source, other, **given, context=context)
    assert isinstance(result, TransferResult)
    assert shares == [0, 0.5, 1]
    assert len(result.steps) == 3
    assert all(torch.isfinite(tensor).all() for tensor in result.best.values())
    assert set(result.metrics()) >= {"best_step", "best_validation_accuracy", "test_accuracy", "last_test_accuracy"}


def test_every_pair_has_batches_of_its_own_and_all_methods_share_them(
    source: Trajectory, other: Trajectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = find_operation("transfer")
    settings = operation.settings(model={"name": "mlp", "hidden": [32]}, data="digits")
    given = {name: getattr(settings, name) for name in type(settings).model_fields}

    def seed(one: Trajectory, two: Trajectory, **changed: object) -> int:
        seen: list[int] = []
        monkeypatch.setattr(
            "weightscape.transfer.trajectory.transfer_trajectory", lambda *_, **options: seen.append(options["seed"])
        )
        operation(one, two, **(given | changed), context=Context())
        return seen[0]

    assert seed(source, other) == seed(source, other, method="oracle")
    assert len({seed(source, other), seed(other, source), seed(source, source), seed(source, other, seed=1)}) == 4
