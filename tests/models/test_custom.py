import pytest
import torch

from weightscape.errors import ModelError
from weightscape.models.building import build_model

SOURCE = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, classes, depth=1, *, dropout=0.5):
        layers = [nn.Linear(4, 4) for _ in range(depth)]
        super().__init__(nn.Flatten(), *layers, nn.Dropout(dropout), nn.Linear(4, classes))
        self.seen_in_training = []
    def forward(self, inputs):
        self.seen_in_training.append(self.training)
        return super().forward(inputs)

def by_shape(shape, classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))

def anything(**options):
    assert options == {"own": 1}
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))

def no_module(): return 3
def wrong_size(): return nn.Sequential(nn.Flatten(), nn.Linear(4, 7))
def wrong_inputs(): return nn.Linear(5, 3)
def pair():
    class Pair(nn.Module):
        def forward(self, inputs): return inputs, inputs
    return Pair()
def fails(): raise ZeroDivisionError("of all things")
number = 3
"""


@pytest.fixture(autouse=True, scope="module")
def _user_module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    (folder / "users_own_networks.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


def build(name, **arguments):
    settings = {"name": f"users_own_networks.{name}", **arguments}
    return build_model(settings, shape=(1, 2, 2), classes=3, seed=1)


def test_classes_shape_and_arguments_reach_the_callable():
    assert len(build("Net", depth=3, dropout=0.1)) == 6
    assert build("by_shape")[1].weight.shape == (3, 4)


def test_only_named_parameters_are_passed_along():
    assert build("anything", own=1)[1].out_features == 3


def test_the_seed_decides_the_weights_of_a_users_network_too():
    before = torch.get_rng_state()
    torch.testing.assert_close(build("Net").state_dict(), build("Net").state_dict(), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_probe_runs_in_evaluation_mode_and_restores_the_modes():
    model = build("Net")
    assert model.seen_in_training == [False]
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Nett", {}, "cannot be imported"),
        ("Net", {"dropuot": 0.1}, "no argument 'dropuot'. Did you mean 'dropout'"),
        ("no_module", {}, "it returned int"),
        ("wrong_size", {}, r"\(2, 3\), it returned \(2, 7\)"),
        ("pair", {}, "it returned tuple"),
        ("wrong_inputs", {}, r"cannot take inputs of shape \(2, 1, 2, 2\)"),
        ("fails", {}, "of all things"),
        ("Net", {"depth": "three"}, "failed with the arguments"),
        ("number", {}, "should be a class or a function, it is 3"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_with_the_reason(name, arguments, message):
    with pytest.raises(ModelError, match=message):
        build(name, **arguments)
