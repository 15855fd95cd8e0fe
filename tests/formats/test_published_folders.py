"""The folders of published networks of arXiv 2110.14633: seeds, steps, models, data and logs are in their names."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

import weightscape as ws
from weightscape.data.specification import DataSpec
from weightscape.errors import SpecificationError, StoreError, WeightscapeError
from weightscape.formats.dr_frankenstein import read_log, told_by_folders
from weightscape.models.building import build_model
from weightscape.studies.document import read_text
from weightscape.studies.executors.execution import run_plan
from weightscape.studies.plan import Plan
from weightscape.studies.planning import plan_study
from weightscape.studies.sources import Sources
from weightscape.studies.specification import validate_study
from weightscape.studies.tables import detail_table, stage_table
from weightscape.studies.workspace.store import Store

LOG = "train_accuracy,train_loss,val_accuracy,val_loss\n0.25,2.0,0.5,1.5\n0.75,1.0,0.625,nan\n"
LENET, DENSE = "LeNet/MNIST", "Dense/MNIST"


def save(path: Path, model: str, seed: int) -> None:
    """Write weights as PyTorch did before version 1.6."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = build_model(model, shape=(1, 8, 8), classes=10, seed=seed).state_dict()
    torch.save(weights, path, _use_new_zipfile_serialization=False)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs of one network with two seeds each, the first with a log; nothing says the data."""
    monkeypatch.setenv("WEIGHTSCAPE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "weights [1]/Dense"
    for first, second in ((0, 0), (12, 3)):
        for iteration in (0, 110000):
            save(folder / f"in{first}-gn{second}/{iteration}.pt", "dense", first + iteration)
    (folder / "in0-gn0/training_log.csv").write_text(LOG)
    return tmp_path


def planned(folder: Path, options: str = "data: digits, layout: dr-frankenstein", **more: Any) -> Plan:
    text = f"study: t\nstages:\n  nets:\n    run: import\n    with: {{files: {json.dumps(str(folder))}, {options}}}\n"
    return plan_study(validate_study(read_text(text + more.get("stages", ""))), sources=Sources(more.get("store")))


def test_runs_have_the_seeds_of_their_folders_and_steps_in_iterations(published: Path) -> None:
    found = ws.Population.from_files(published, layout="dr-frankenstein")
    seeds = [(member.settings["init_seed"], member.settings["order_seed"]) for member in found.members]
    assert seeds == [(0, 0), (12, 3)]
    assert [str(step) for step in found.trajectories[0].steps] == ["0ep", "110000it"]
    expected = build_model("dense", shape=(1, 8, 8), classes=10, seed=110012).state_dict()
    weights = found.select(init_seed=12).at("110000it")[0]
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("place", ["weights [1]", "weights [1]/Dense", "weights [1]/Dense/in12-gn3"])
def test_any_folder_above_a_run_and_the_run_itself_will_do(published: Path, place: str) -> None:
    found = ws.Population.from_files(published / place, layout="dr-frankenstein")
    assert found.members[-1].settings == {"init_seed": 12, "order_seed": 3}


def test_an_import_takes_the_model_from_the_folder_and_the_log_as_a_table(published: Path) -> None:
    store, plan = Store(published / "w"), planned(published)
    done = run_plan(plan, store)
    table = stage_table(plan, "nets", done.outcomes, store)
    assert table["status"].tolist() == ["done", "done"]
    assert table[["model.name", "init_seed", "order_seed", "first", "last"]].to_numpy().tolist() == [
        ["dense", 0, 0, "0ep", "110000it"],
        ["dense", 12, 3, "0ep", "110000it"],
    ]
    assert table["checked"].all()
    log = detail_table(plan, "nets", "epochs", store)
    assert log["epoch"].tolist() == [1, 2]
    assert log["test_accuracy"].tolist() == [0.5, 0.625]
    assert log["test_loss"].isna().tolist() == [False, True]
    assert log["init_seed"].tolist() == [0, 0]


def test_what_is_computed_on_them_needs_no_more_options(published: Path) -> None:
    stages = "  measured: {run: evaluate, from: nets@110000it, where: weights.init_seed = 12}\n"
    store, plan = Store(published / "w"), planned(published, stages=stages)
    assert run_plan(plan, store).count("done") == 3


def test_folders_of_several_networks_are_one_stage(published: Path) -> None:
    save(published / "weights [1]/LeNet5/in1-gn1/110000.pt", "dense", 1)
    save(published / "more/Dense/in5-gn5/110000.pt", "dense", 5)
    rows = planned(published).stages["nets"].rows
    models = {(row.settings["init_seed"], (row.settings["model"] or {}).get("name")) for row in rows}
    assert models == {(0, "dense"), (12, "dense"), (5, "dense"), (1, None)}  # LeNet5 is the name of none


def test_the_key_is_that_of_the_same_files_named_by_a_template_and_of_the_log(published: Path) -> None:
    template = 'data: digits, model: dense, step: "in{init_seed}-gn{order_seed}/{iteration}.pt"'
    pattern = published / "weights [[]1]/Dense/*/*.pt"
    with_log, without = ({row.key for row in planned(*given).stages["nets"].rows} for given in (
        (published,), (pattern, template)
    ))  # fmt: skip
    assert len(with_log & without) == 1
    (published / "weights [1]/Dense/in0-gn0/training_log.csv").unlink()
    assert {row.key for row in planned(published).stages["nets"].rows} == without


def test_a_log_changed_after_planning_is_not_imported_under_the_old_key(published: Path) -> None:
    store, plan = Store(published / "w"), planned(published)
    (published / "weights [1]/Dense/in0-gn0/training_log.csv").write_text(LOG + "0,0,0,0\n")
    done = run_plan(plan, store)
    assert done.count("done") == 1
    assert "training_log.csv was changed" in " ".join(outcome.message for outcome in done.outcomes.values())


def test_data_that_no_folder_names_are_asked_for(published: Path) -> None:
    with pytest.raises(SpecificationError) as caught:
        planned(published, "layout: dr-frankenstein")
    assert "stages.nets.with.data" in str(caught.value)
    assert "in0-gn0" in str(caught.value)


def test_an_unknown_layout_has_a_suggestion(published: Path) -> None:
    with pytest.raises(WeightscapeError, match="Did you mean 'dr-frankenstein'"):
        ws.Population.from_files(published, layout="frankenstein")  # type: ignore[arg-type]


class Trap:
    """Makes a folder when it is read by whoever runs what a file says."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.sprung),)


def test_code_in_a_file_of_that_age_is_not_run(published: Path, tmp_path: Path) -> None:
    path = published / "weights [1]/Dense/in0-gn0/110000.pt"
    whole = {"0": torch.ones(2), "trap": Trap(tmp_path / "sprung")}
    torch.save(whole, path, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightscapeError):
        ws.Population.from_files(published, layout="dr-frankenstein", model=torch.nn.Linear(2, 2))
    assert not (tmp_path / "sprung").exists()


def test_pickles_of_results_are_refused(published: Path, tmp_path: Path) -> None:
    path = published / "bn1-bn1.pt"
    path.write_bytes(pickle.dumps({"params": {}, "trap": Trap(tmp_path / "sprung")}))
    with pytest.raises(WeightscapeError, match="bn1-bn1"):
        ws.Population.from_files(path, layout="dr-frankenstein", step="1ep")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("w/Tiny10/CIFAR10/in0-gn0", ("tiny10", "cifar10")),
        ("w/NbnTiny10/CIFAR100/in0-gn1", ({"name": "tiny10", "batch_norm": False}, "cifar100")),
        ("w/ResNet20_w3/in0-gn0", ("resnet20_w3", None)),
        ("LeNet/FashionMNIST/in1-gn1", ("lenet", "fashion_mnist")),
        ("tiny10_cifar10/in0-gn0", (None, None)),
        ("/in0-gn0", (None, None)),
    ],
)
def test_folders_name_models_and_data(run: str, told: tuple[Any, Any]) -> None:
    model, data = told_by_folders(run)
    assert (model, data and data["name"]) == told


def test_a_log_that_was_begun_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "training_log.csv").touch()
    assert list(read_log(tmp_path / "training_log.csv")["epoch"]) == []


@pytest.mark.parametrize("text", ["a,b\n1,2\n", LOG + "0.5,x,1,1\n", LOG + "0.5\n", "\x00"])
def test_what_is_no_log_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "training_log.csv"
    path.write_text(text)
    with pytest.raises(StoreError, match=r"training_log\.csv"):
        read_log(path)


def test_data_named_by_folders_are_normalised_as_in_the_training_there() -> None:
    _, data = told_by_folders("Tiny10/CIFAR10/in0-gn0")
    assert data == {"name": "cifar10", "normalise": {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]}}
    assert TypeAdapter(DataSpec).validate_python(data).normalise != "data"


@pytest.mark.slow
def test_the_published_networks_are_a_population(shared_data: Path) -> None:
    expected = {"tiny10_cifar10": (4, "tiny10", 58), "resnet20_w1_cifar10": (2, "resnet20_w1", 128)}
    for name, (count, model, tensors) in expected.items():
        network = build_model(model, shape=(3, 32, 32), classes=10)
        found = ws.Population.from_files(shared_data / "reference" / name, layout="dr-frankenstein", model=network)
        assert [member.settings["order_seed"] for member in found.members] == list(range(count))
        assert {str(step) for member in found.trajectories for step in member.steps} == {"110000it"}
        assert len(found[0]) == tensors
