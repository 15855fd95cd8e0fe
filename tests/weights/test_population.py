from __future__ import annotations

import os
import re
from collections import OrderedDict

import pytest
import torch
from torch import nn

from weightscape.errors import ModelError, StoreError, WeightscapeError
from weightscape.step import Step
from weightscape.weights.checkpoints import read_checkpoint
from weightscape.weights.population import Member, Population
from weightscape.weights.trajectory import Trajectory


def build(width=4, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs of three epochs, as a plain loop leaves them."""
    monkeypatch.chdir(tmp_path)
    for seed in range(2):
        for epoch in range(3):
            write(
                f"runs/seed{seed}/ep{epoch}.pt",
                {"model": build(seed=10 * seed + epoch).state_dict(), "args": {"lr": 0.1}},
            )
    return tmp_path


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    torch.save(content, path)


def test_a_folder_is_a_run_and_a_file_a_snapshot(runs):
    found = Population.from_files("runs/*/ep*.pt", model=build)
    assert len(found) == 6
    assert found.labels[:2] == ("runs/seed0@0ep", "runs/seed0@1ep")
    assert [trajectory.steps for trajectory in found.trajectories] == [(Step(0), Step(1), Step(2))] * 2
    assert torch.equal(found.trajectories[1].at("2ep")["0.weight"], build(seed=12)[0].weight)
    assert [member.settings for member in found.members] == [{"lr": 0.1}] * 2


def test_names_give_settings_to_choose_by(runs):
    found = Population.from_files("runs/*/*.pt", step="seed{seed}/ep{epoch}.pt")
    assert found.to_frame()["seed"].tolist() == [0, 0, 0, 1, 1, 1]
    assert found.to_frame()["step"].tolist() == ["0ep", "1ep", "2ep"] * 2
    chosen = found.select(seed=1).at("last")
    assert chosen.labels == ("runs/seed1@2ep",)
    assert torch.equal(chosen[0]["0.weight"], build(seed=12)[0].weight)
    assert found.select(lambda settings: settings["seed"] < 1).labels == found.labels[:3]
    with pytest.raises(ModelError, match="seed is one of 0, 1"):
        found.select(seed=5)


def test_nothing_is_read_before_it_is_asked_for(runs, monkeypatch):
    monkeypatch.setattr(torch.UntypedStorage, "from_file", None)
    found = Population.from_files("runs/*/ep*.pt", model=build).at("last").select(lr=0.1)
    assert found.labels == ("runs/seed0@2ep", "runs/seed1@2ep")
    monkeypatch.undo()
    assert len(found[0]) == 7


def test_headers_are_read_again_only_when_a_file_changed(runs, monkeypatch):
    for seed in range(2):
        for epoch in range(3):
            os.utime(f"runs/seed{seed}/ep{epoch}.pt", (1e9, 1e9))
    Population.from_files("runs/*/ep*.pt")
    read = []
    monkeypatch.setattr(
        "weightscape.weights.heads.read_checkpoint",
        lambda path, **options: read.append(os.path.basename(path)) or read_checkpoint(path, **options),
    )
    assert len(Population.from_files("runs/*/ep*.pt")) == 6
    assert read == []
    write("runs/seed1/ep1.pt", {"model": build(seed=5).state_dict(), "args": {"lr": 0.3}})
    changed = Population.from_files("runs/seed1/ep1.pt")
    assert read == ["ep1.pt"]
    assert changed.members[0].settings == {"lr": 0.3}


def test_weights_go_into_a_module_and_into_vectors(runs):
    found = Population.from_files("runs/*/ep*.pt")
    model = build(seed=99)
    before = [tensor.clone() for tensor in model.state_dict().values()]
    filled = [[tensor.clone() for tensor in network.parameters()] for network in found.modules(model)]
    assert torch.equal(filled[5][0], build(seed=12)[0].weight)
    assert all(map(torch.equal, before, model.state_dict().values()))
    names = [name for name, _ in model.named_parameters()]
    vectors = found.vectors(names)
    assert vectors.shape == (6, sum(parameter.numel() for parameter in model.parameters()))
    assert torch.equal(vectors[5], nn.utils.parameters_to_vector(build(seed=12).parameters()))
    with pytest.raises(ModelError, match=r"seed0@0ep do not fit the model.*0\.weight is \(4, 3\) instead of \(5, 3\)"):
        list(found.modules(build(5)))


def test_a_model_must_fit_every_file_and_the_first_that_does_not_is_named(runs):
    other = nn.Sequential(OrderedDict(head=nn.Linear(3, 4), norm=nn.BatchNorm1d(4)))
    with pytest.raises(ModelError, match=r"ep0\.pt does not fit the model. 14 tensors differ: head\.weight is missing"):
        Population.from_files("runs/*/ep*.pt", model=other)


def test_a_file_of_another_architecture_is_named(runs):
    write("runs/seed1/ep3.pt", {"model": build(5).state_dict(), "args": {"lr": 0.1}})
    with pytest.raises(StoreError, match=r"other 6: .*runs/seed1/ep3\.pt\..*0\.weight is \(5, 3\) instead of \(4, 3\)"):
        Population.from_files("runs/*/ep*.pt")
    assert len(Population.from_files("runs/*/ep[0-2].pt")) == 6


def test_two_files_of_one_step_are_named(runs):
    write("runs/seed1/epoch_2.pt", build().state_dict())
    with pytest.raises(StoreError, match=r"ep2\.pt and .*runs/seed1/epoch_2\.pt .* step 2ep"):
        Population.from_files("runs/*/*.pt")


def test_runs_mixed_in_one_folder_are_told_apart_by_names_or_refused(runs):
    for seed in range(2):
        for epoch in range(2):
            write(f"flat/s{seed}_ep{epoch}.pt", {"net": build(seed=seed).state_dict(), "args": {"seed": seed}})
    found = Population.from_files("flat/*.pt", step="s{seed}_ep{epoch}.pt")
    assert [len(trajectory) for trajectory in found.trajectories] == [2, 2]
    with pytest.raises(StoreError, match="both of step 0ep"):
        Population.from_files("flat/*.pt")
    os.remove("flat/s0_ep1.pt")
    os.remove("flat/s1_ep0.pt")
    with pytest.raises(StoreError, match="seeds 0 and 1"):
        Population.from_files("flat/*.pt")


def test_settings_that_files_disagree_about_are_no_settings_of_the_run(runs, caplog):
    write("runs/seed1/ep3.pt", {"model": build().state_dict(), "args": {"lr": 0.2}})
    found = Population.from_files("runs/*/ep*.pt")
    assert [member.settings for member in found.members] == [{"lr": 0.1}, {}]
    assert "ep3.pt says another 'lr'" in caplog.text


def test_the_newest_file_may_be_unfinished_and_no_other(runs, caplog):
    whole = (runs / "runs/seed1/ep2.pt").read_bytes()
    (runs / "runs/seed1/ep3.pt").write_bytes(whole[:-50])
    os.utime("runs/seed1/ep3.pt", (2e9, 2e9))
    assert len(Population.from_files("runs/*/ep*.pt")) == 6
    assert "ep3.pt is left out" in caplog.text
    os.utime("runs/seed1/ep3.pt", (1e9, 1e9))
    with pytest.raises(StoreError, match=r"ep3\.pt cannot be read.*not the newest"):
        Population.from_files("runs/*/ep*.pt")


def test_of_files_with_one_time_the_unfinished_one_is_the_newest(runs, caplog):
    (runs / "runs/seed1/ep3.pt").write_bytes(b"")
    for name in ("ep0", "ep1", "ep2", "ep3"):
        os.utime(f"runs/seed1/{name}.pt", (1e9, 1e9))
    assert len(Population.from_files("runs/*/ep*.pt")) == 6
    assert "ep3.pt is left out" in caplog.text


def test_a_link_that_leads_to_itself_is_no_file(runs):
    os.symlink("loop.pt", "runs/seed0/loop.pt")
    assert len(Population.from_files("runs/seed0")) == 3


@pytest.mark.parametrize(
    "content", ['{"settings": 5}', '{"iterations_per_epoch": -4}', '{"iterations_per_epoch": "x"}']
)
def test_a_run_file_with_something_else_is_named(runs, content):
    (runs / "runs/seed0/run.json").write_text(content)
    with pytest.raises(StoreError, match=r"seed0.run\.json is damaged \(expected"):
        Population.from_files("runs/*/ep*.pt")


def test_the_step_in_the_file_counts_where_the_name_has_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, epoch in (("best", 3), ("last", 5)):
        write(f"run/{name}.ckpt", {"state_dict": build().state_dict(), "epoch": epoch, "global_step": 100 * epoch})
    assert Population.from_files("run").trajectories[0].steps == (Step(3), Step(5))
    write("other/model.pt", build().state_dict())
    with pytest.raises(StoreError, match=r"model\.pt has no step.*step='15ep'"):
        Population.from_files("other/model.pt")
    assert Population.from_files("other/model.pt", step="15ep").labels == ("other/model.pt@15ep",)


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(StoreError, match=r"No file of weights is named"):
        Population.from_files(tmp_path / "*.pt")
    with pytest.raises(StoreError, match=r"no files of weights"):
        Population.from_files(tmp_path)
    (tmp_path / "runs" / "seed0").mkdir(parents=True)
    (tmp_path / "runs" / "seed0" / "ep1.pt").touch()
    with pytest.raises(StoreError, match=re.escape(f"named by '{tmp_path}/*/*/*.pt'")):
        Population.from_files(tmp_path)
    with pytest.raises(WeightscapeError, match="received 'nonsense'"):
        Population.from_files(tmp_path, step="nonsense")


def test_a_population_of_trajectories_and_weights():
    weights = build().state_dict()
    mixed = Population([("a", Trajectory({Step(0): weights, Step(2): weights})), Member("b", weights, {"seed": 1})])
    assert mixed.labels == ("a@0ep", "a@2ep", "b")
    assert len(list(mixed)) == len(mixed) == 3
    with pytest.raises(ModelError, match="at least one"):
        Population([])


def test_published_networks_open_as_they_lie(shared_data):
    found = Population.from_files(
        str(shared_data / "reference/resnet20_w1_cifar10/*/*.pt"), step=r"in(?P<seed>\d+)-gn\d+/(?P<iteration>\d+)"
    )
    assert found.to_frame()[["seed", "step"]].to_numpy().tolist() == [[0, "110000it"], [1, "110000it"]]
