from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from weightscape.data.dataset import Dataset
from weightscape.errors import Interrupted, StoreError
from weightscape.step import Step
from weightscape.training.recipe import Adam, Recipe, Sgd
from weightscape.training.result import TrainResult
from weightscape.training.run import train_model
from weightscape.weights.trajectory import Trajectory

EPOCHS, LENGTH = 3, 4
RECIPE = Recipe.model_validate({"epochs": EPOCHS, "batch_size": 16, "schedule": "cosine"})
KEEP = tuple(map(Step.parse, ("0ep", "3it", "1ep", "1ep2it", "3ep")))


def _train(model: nn.Module, dataset: Dataset, recipe: Recipe = RECIPE, **options: object) -> TrainResult:
    return train_model(model, dataset, recipe=recipe, order_seed=7, keep=KEEP, **options)  # type: ignore[arg-type]


def _assert_same(left: TrainResult, right: TrainResult) -> None:
    assert left.epochs.equals(right.epochs)
    assert left.trajectory.steps == right.trajectory.steps
    for one, other in zip(left.trajectory, right.trajectory, strict=True):
        assert one.weights.keys() == other.weights.keys()
        assert all(torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items())
    drop = {"train_seconds"}
    assert {k: v for k, v in left.metrics().items() if k not in drop} == {
        k: v for k, v in right.metrics().items() if k not in drop
    }


def _after(steps: int) -> Callable[[], bool]:
    count = itertools.count()
    return lambda: next(count) >= steps


def _stopped(model: nn.Module, dataset: Dataset, folder: Path, steps: int, recipe: Recipe = RECIPE) -> None:
    with pytest.raises(Interrupted, match="the same command continues it"):
        _train(model, dataset, recipe, resume=folder, should_stop=_after(steps))


@pytest.mark.parametrize("optimizer", [Sgd(name="sgd", nesterov=True), Adam(name="adam", lr=0.01)])
def test_a_run_stopped_at_any_step_ends_in_the_same_bits(
    dataset: Dataset, convolutional: nn.Module, tmp_path: Path, optimizer: Sgd | Adam
) -> None:
    recipe = RECIPE.model_copy(update={"optimizer": optimizer})
    through = _train(convolutional, dataset, recipe)
    for steps in range(EPOCHS * LENGTH):
        folder = tmp_path / str(steps)
        _stopped(convolutional, dataset, folder, steps, recipe)
        _assert_same(_train(convolutional, dataset, recipe, resume=folder), through)


def test_a_run_stopped_after_every_single_step_ends_in_the_same_bits(
    dataset: Dataset, convolutional: nn.Module, tmp_path: Path
) -> None:
    for _ in range(EPOCHS * LENGTH):
        _stopped(convolutional, dataset, tmp_path, 1 if any(tmp_path.iterdir()) else 0)
    _assert_same(_train(convolutional, dataset, resume=tmp_path), _train(convolutional, dataset))


def test_a_resume_folder_changes_nothing(dataset: Dataset, convolutional: nn.Module, tmp_path: Path) -> None:
    saved = _train(convolutional, dataset, resume=tmp_path, checkpoint_seconds=0.0)
    _assert_same(saved, _train(convolutional, dataset))


def test_a_run_stopped_in_its_first_epoch_keeps_that_epoch_and_its_initialisation(
    dataset: Dataset, linear: nn.Module, tmp_path: Path
) -> None:
    # The published code marks the state before training as "epoch 0 done" and continues with the second epoch.
    _stopped(linear, dataset, tmp_path, 2)
    resumed = _train(linear, dataset, resume=tmp_path)
    assert list(resumed.epochs["epoch"]) == [0, 1, 2, 3]
    assert resumed.iterations == EPOCHS * LENGTH
    assert torch.equal(resumed.trajectory.at("0ep")["1.weight"], linear[1].weight)
    _assert_same(resumed, _train(linear, dataset))


def test_a_finished_run_is_read_not_repeated(dataset: Dataset, linear: nn.Module, tmp_path: Path) -> None:
    first = _train(linear, dataset, resume=tmp_path)
    second = _train(linear, dataset, resume=tmp_path, should_stop=lambda: True)
    _assert_same(first, second)
    assert second.train_seconds == first.train_seconds


def _checkpoints(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"*.{kind}"))


def test_two_checkpoints_are_kept(dataset: Dataset, linear: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "my-notes.txt").write_text("not ours")
    _train(linear, dataset, resume=tmp_path)
    assert [path.stem for path in _checkpoints(tmp_path, "json")] == ["000002-000000000", "000003-000000000"]
    assert len(_checkpoints(tmp_path, "safetensors")) == 2
    assert (tmp_path / "my-notes.txt").exists()


def _truncate(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("kinds", [("json",), ("safetensors",), ("json", "safetensors")])
@pytest.mark.parametrize("newest", [1, 2])
def test_a_truncated_checkpoint_falls_back_to_the_one_before_or_the_start(
    dataset: Dataset, linear: nn.Module, tmp_path: Path, share: float, kinds: tuple[str, ...], newest: int
) -> None:
    _stopped(linear, dataset, tmp_path, 9)
    for kind in kinds:
        for path in _checkpoints(tmp_path, kind)[-newest:]:
            _truncate(path, share)
    first: list[int] = []
    resumed = _train(linear, dataset, resume=tmp_path, on_epoch=lambda done, total, row: first.append(done))
    assert first[0] == (2 if newest == 1 else 0)
    _assert_same(resumed, _train(linear, dataset))


def test_a_checkpoint_with_a_flipped_bit_is_not_used(dataset: Dataset, linear: nn.Module, tmp_path: Path) -> None:
    _stopped(linear, dataset, tmp_path, 9)
    _flip(_checkpoints(tmp_path, "safetensors")[-1])
    _assert_same(_train(linear, dataset, resume=tmp_path), _train(linear, dataset))


@pytest.mark.parametrize("damage", [Path.unlink, _flip])
def test_a_damaged_snapshot_is_made_again(
    dataset: Dataset, linear: nn.Module, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    _stopped(linear, dataset, tmp_path, 9)
    damage(tmp_path / "snapshots" / "3it.safetensors")
    _assert_same(_train(linear, dataset, resume=tmp_path), _train(linear, dataset))


def test_valid_json_of_another_kind_is_no_checkpoint(dataset: Dataset, linear: nn.Module, tmp_path: Path) -> None:
    _stopped(linear, dataset, tmp_path, 9)
    for path in _checkpoints(tmp_path, "json"):
        path.write_text("[1, 2]")
    _assert_same(_train(linear, dataset, resume=tmp_path), _train(linear, dataset))


def test_another_run_is_refused_and_left_alone(dataset: Dataset, linear: nn.Module, tmp_path: Path) -> None:
    _stopped(linear, dataset, tmp_path, 5)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    other = RECIPE.model_copy(update={"optimizer": Sgd(name="sgd", lr=0.05)})
    with pytest.raises(StoreError, match=r"another run: recipe\.optimizer\.lr is 0\.05 here and 0\.1 there"):
        _train(linear, dataset, other, resume=tmp_path)
    with pytest.raises(StoreError, match="order_seed is 8 here and 7 there"):
        train_model(linear, dataset, recipe=RECIPE, order_seed=8, keep=KEEP, resume=tmp_path)
    with pytest.raises(StoreError, match="keep"):
        train_model(linear, dataset, recipe=RECIPE, order_seed=7, resume=tmp_path)
    with torch.no_grad():
        linear[1].bias[0] += 1
    with pytest.raises(StoreError, match="start is"):
        _train(linear, dataset, resume=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_other_data_is_another_run(dataset: Dataset, plain_dataset: Dataset, linear: nn.Module, tmp_path: Path) -> None:
    _stopped(linear, dataset, tmp_path, 5)
    with pytest.raises(StoreError, match="augment is 'none' here and 'pad-crop-flip' there"):
        _train(linear, plain_dataset, resume=tmp_path)


def test_the_resume_folder_holds_safetensors_and_json_alone(
    dataset: Dataset, convolutional: nn.Module, tmp_path: Path
) -> None:
    _stopped(convolutional, dataset, tmp_path, 6)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    for path in _checkpoints(tmp_path, "json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)


def test_the_trajectory_can_be_saved_elsewhere_and_the_folder_removed(
    dataset: Dataset, linear: nn.Module, tmp_path: Path
) -> None:
    result = _train(linear, dataset, resume=tmp_path / "resume")
    result.trajectory.save(tmp_path / "kept")
    shutil.rmtree(tmp_path / "resume")
    kept = Trajectory.open(tmp_path / "kept")
    assert kept.steps == result.trajectory.steps
    assert torch.equal(kept.at("3it")["1.weight"], _train(linear, dataset).trajectory.at("3it")["1.weight"])


_PROGRAM = """
import sys
import torch
from weightscape.data.loading import load_data
from weightscape.data.specification import DataSettings
from weightscape.models.building import build_model
from weightscape.training.recipe import Recipe
from weightscape.training.run import train_model

torch.set_num_threads(1)
resume, out = sys.argv[1:]
data = load_data(DataSettings(name="digits", augment="pad-crop"))
model = build_model({"name": "mlp", "hidden": [32]}, shape=data.shape, classes=10, seed=3)
recipe = Recipe.model_validate({"epochs": 25, "schedule": "cosine"})
folder = None if resume == "none" else resume
result = train_model(
    model, data, recipe=recipe, order_seed=5, keep="epochs", resume=folder, checkpoint_seconds=0.0
)
result.trajectory.save(out)
result.epochs.to_csv(out + "/epochs.csv", float_format="%.17g")
"""


def _program(resume: str, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _PROGRAM, resume, str(out)], stderr=subprocess.PIPE)


def _wait_for(process: subprocess.Popen[bytes], folder: Path, epoch: int) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if any(folder.glob(f"{epoch:06d}-*.json")):
            return
        time.sleep(0.001)
    pytest.fail(f"epoch {epoch} was not seen in time: {process.communicate()[1].decode()}")


@pytest.mark.slow
def test_a_process_killed_at_several_moments_ends_in_the_same_bits(tmp_path: Path) -> None:
    resume = tmp_path / "resume"
    moments = random.Random(0)
    for epoch in (0, 0, 6, 17):
        process = _program(str(resume), tmp_path / "killed")
        _wait_for(process, resume, epoch)
        time.sleep(moments.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.communicate()
    assert not (tmp_path / "killed").exists()
    for folder, name in ((str(resume), "killed"), ("none", "through")):
        process = _program(folder, tmp_path / name)
        assert process.wait() == 0, process.communicate()[1].decode()
        process.communicate()
    killed, through = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("killed", "through")
    )
    assert len(through) == 26 + 2
    assert killed == through
