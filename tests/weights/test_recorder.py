from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from weightscape.errors import StoreError, TrainingError
from weightscape.weights.population import Population
from weightscape.weights.recorder import Recorder
from weightscape.weights.trajectory import Trajectory


def build():
    return nn.Linear(2, 1)


def loop(recorder, model, epochs, length=3):
    for _ in range(epochs):
        for _ in range(length):
            with torch.no_grad():
                model.weight += 1
            recorder.step()
        recorder.end_epoch()
    recorder.close()


def recorded(folder):
    trajectory = Trajectory.open(folder)
    return {str(snapshot.step): snapshot.weights["weight"][0, 0].item() for snapshot in trajectory}


@pytest.fixture
def model():
    model = build()
    nn.init.zeros_(model.weight)
    return model


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("1ep", {"0ep": 0, "1ep": 3, "2ep": 6, "3ep": 9}),
        ("2ep", {"0ep": 0, "2ep": 6}),
        ("2it", {"0ep": 0, "0ep2it": 2, "1ep1it": 4, "1ep3it": 6, "2ep2it": 8}),
        (["1ep", "4it", "2ep1it"], {"0ep": 0, "1ep": 3, "1ep1it": 4, "2ep1it": 7}),
    ],
)
def test_the_weights_of_that_moment_are_kept_though_training_goes_on(tmp_path, model, every, expected):
    loop(Recorder(tmp_path / "run", model, every=every), model, 3)
    normal = {str(Trajectory.open(tmp_path / "run").find(step)): value for step, value in expected.items()}
    assert recorded(tmp_path / "run") == normal


def test_the_folder_opens_without_options_and_settings_are_columns(tmp_path, model):
    for seed in range(2):
        settings = {"seed": seed, "optimizer": {"lr": 0.1}}
        loop(Recorder(tmp_path / f"run{seed}", build(), settings=settings), model, 1)
    found = Population.from_files([str(tmp_path / "run*")], model=build)
    assert found.to_frame()["seed"].tolist() == [0, 0, 1, 1]
    assert found.to_frame()["optimizer.lr"].tolist() == [0.1] * 4
    assert found.select(seed=1).trajectories[0].iterations_per_epoch == 3


def test_wrappers_are_looked_through_and_ties_kept(tmp_path):
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    with Recorder(tmp_path, nn.DataParallel(tied)):
        pass
    found = Trajectory.open(tmp_path).last
    assert list(found) == ["0.weight", "1.weight"]
    assert found["0.weight"] is found["1.weight"]


def test_neither_the_model_nor_random_numbers_are_touched(tmp_path, model):
    model.train()
    before = torch.get_rng_state()
    with Recorder(tmp_path, model) as recorder:
        recorder.save()
    assert model.training
    assert model.weight.requires_grad
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_is_never_written_over(tmp_path, model):
    loop(Recorder(tmp_path, model, settings={"seed": 0}), model, 2)
    with pytest.raises(StoreError, match=r"holds a run already, until 2ep.*start='2ep'"):
        Recorder(tmp_path, model)
    with pytest.raises(StoreError, match=r"settings \{'seed': 0\}, not \{'seed': 1\}"):
        Recorder(tmp_path, model, settings={"seed": 1}, start="2ep")
    assert recorded(tmp_path) == {"0ep": 0, "1ep": 3, "2ep": 6}


def test_a_run_goes_on_and_what_it_leaves_behind_is_put_aside(tmp_path, model):
    loop(Recorder(tmp_path, model), model, 3)
    torch.nn.init.constant_(model.weight, 100)
    loop(Recorder(tmp_path, model, start="1ep"), model, 1)
    assert recorded(tmp_path) == {"0ep": 0, "1ep": 3, "2ep": 103}
    assert recorded(tmp_path / "abandoned") == {"2ep": 6, "3ep": 9}


def test_a_snapshot_that_cannot_be_written_is_reported(tmp_path, model):
    recorder = Recorder(tmp_path / "run", model)
    recorder.close()
    shutil.rmtree(tmp_path / "run")
    recorder.save()
    with pytest.raises(StoreError, match="cannot be written"):
        recorder.close()


@pytest.mark.parametrize("every", ["0ep", "1ep2it"])
def test_a_rhythm_that_makes_no_sense_is_refused(tmp_path, model, every):
    with pytest.raises(TrainingError, match="every='1ep'"):
        Recorder(tmp_path, model, every=every)


def test_settings_must_be_plain_and_a_start_needs_a_run(tmp_path, model):
    with pytest.raises(StoreError, match="numbers, texts"):
        Recorder(tmp_path / "a", model, settings={"model": model})
    with pytest.raises(StoreError, match="no snapshots that could be continued"):
        Recorder(tmp_path / "b", model, start="3ep")


LOOP = """
import sys, torch
from weightscape.weights.recorder import Recorder
model = torch.nn.Linear(300, 300)
recorder = Recorder(sys.argv[1], model, every="1it", start=sys.argv[2] or None)
print("begun", flush=True)
while True:
    with torch.no_grad():
        model.weight += 1
    recorder.step()
"""


@pytest.mark.slow
def test_a_killed_loop_leaves_whole_snapshots_and_goes_on(tmp_path):
    start = ""
    for attempt in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", LOOP, str(tmp_path), start], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.02 * (attempt + 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        trajectory = Trajectory.open(tmp_path)
        assert all(snapshot.weights["weight"].shape == (300, 300) for snapshot in trajectory)
        start = str(trajectory.steps[-1])


def test_a_pattern_for_everything_finds_the_snapshots_alone(tmp_path, model):
    loop(Recorder(tmp_path / "a", model), model, 3)
    loop(Recorder(tmp_path / "a", model, start="1ep"), model, 1)
    for pattern in ("*/*", "**"):
        population = Population.from_files(str(tmp_path / pattern))
        assert [str(step) for path in population.trajectories for step in path.steps] == ["0ep", "1ep", "2ep"]
