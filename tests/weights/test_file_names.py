import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.errors import WeightscapeError
from weightscape.step import Step
from weightscape.weights.file_names import StepPattern


@pytest.mark.parametrize(
    ("path", "step", "folder"),
    [
        ("runs/a/ep12.pt", "12ep", "runs/a"),
        ("runs/a/epoch=12.ckpt", "12ep", "runs/a"),
        ("runs/a/epoch=11-step=480.ckpt", "480it", "runs/a"),
        ("runs/a/epoch=11-step=480-v1.ckpt", "480it", "runs/a"),
        ("runs/a/ckpt-E003.pth.tar", "3ep", "runs/a"),
        ("runs/a/checkpoint_epoch_7.pth", "7ep", "runs/a"),
        ("runs/a/model_step_500.pt", "500it", "runs/a"),
        ("runs/a/iter-20.pt", "20it", "runs/a"),
        ("runs/a/000500.pt", "500it", "runs/a"),
        ("in0-gn0/110000.pt", "110000it", "in0-gn0"),
        ("runs/a/12ep50it.safetensors", "12ep50it", "runs/a"),
        ("runs/a/500it.safetensors", "500it", "runs/a"),
        ("ep3.pt", "3ep", ""),
        ("runs/a/best.pt", None, "runs/a"),
        ("run7/model.pt", None, "run7"),
        ("runs/a/resnet18_ep3.pt", "3ep", "runs/a"),
        ("runs/a/ep 3.pt", "3ep", "runs/a"),
        ("runs/a/model_12ep.pt", "12ep", "runs/a"),
        ("runs/a/model-5epochs.pt", "5ep", "runs/a"),
        ("runs/a/model_500_steps.pt", "500it", "runs/a"),
        ("runs/a/lr1e-3_500.pt", "500it", "runs/a"),
    ],
)
def test_names_in_use_are_understood(path, step, folder):
    found = StepPattern().read(path)
    assert (found.step and str(found.step), found.folder, found.settings) == (step, folder, {})


@pytest.mark.parametrize(
    "name",
    ["seed3", "seed_3", "run-3", "fold_3", "resnet18", "resnet18_final", "net_v2", "lr0.01", "lr1e-3", "1e-3_a", "5k"],
)
def test_numbers_of_other_things_are_no_steps(name):
    assert StepPattern().read(f"runs/a/{name}.pt").step is None


@pytest.mark.parametrize(
    "text", [r"seed(?P<seed>\d+)/.*ep(?P<epoch>\d+)", "seed{seed}/*ep{epoch}.pt", "seed{seed}/*ep{epoch}"]
)
def test_settings_stand_in_names_too(text):
    found = StepPattern(text).read("runs/seed3/model_ep12.pt")
    assert (found.step, found.settings, found.folder) == (Step(12), {"seed": 3}, "runs/seed3")


def test_a_folder_per_step_is_one_run():
    found = [
        StepPattern("{name}/checkpoint_{epoch}/weights").read(f"zoo/a/checkpoint_{epoch}/weights") for epoch in "12"
    ]
    assert [(one.step, one.folder, one.settings) for one in found] == [
        (Step(1), "zoo/a", {"name": "a"}),
        (Step(2), "zoo/a", {"name": "a"}),
    ]


def test_values_become_numbers_where_they_are():
    found = StepPattern("{data}_lr{lr}_seed{seed}_{epoch}.pt").read("x/cifar_lr0.1_seed007_3.pt")
    assert found.settings == {"data": "cifar", "lr": 0.1, "seed": 7}


def test_one_step_for_all():
    assert StepPattern("15ep").read("model.pt").step == Step(15)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["pt", "pth", "ckpt", "safetensors", "pth.tar"]))
def test_both_numbers_come_back_from_a_template(epoch, iteration, suffix):
    found = StepPattern("ep{epoch}_it{iteration}").read(f"runs/ep{epoch:04d}_it{iteration}.{suffix}")
    assert found.step == Step(epoch, iteration)


@pytest.mark.parametrize("text", ["epoch", "ep(?P<epoch>", "{", "ep\\d+", "{}"])
def test_what_is_no_pattern_is_refused_with_examples(text):
    with pytest.raises(WeightscapeError, match=r"received|expected"):
        StepPattern(text)
