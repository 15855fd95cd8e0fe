import copy

import pytest
import torch
from torch import nn

from weightscape.errors import ModelError
from weightscape.models.building import build_model
from weightscape.models.layers import layer_table, module_named


class Awkward(nn.Module):
    """Counts its calls in a buffer, draws random numbers, uses one layer twice, one never, and can fail."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.twice = nn.Linear(4, 4)
        self.never = nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.5).eval()
        self.norm = nn.BatchNorm1d(4)
        self.fail = False

    def forward(self, inputs):
        self.seen += 1
        if self.fail:
            raise ValueError("out of order")
        hidden = self.twice(self.twice(inputs)) + torch.rand(4)
        return self.norm(self.dropout(hidden))


def modes(model):
    return {name: module.training for name, module in model.named_modules()}


def hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def rows(model, shape):
    return layer_table(model, shape=shape).layers.set_index("name")


def test_a_table_tells_kind_shape_parameters_and_cost_of_each_layer():
    model = build_model({"name": "conv4", "width": 0.125}, shape=(3, 8, 8), classes=10)
    result = layer_table(model, shape=(3, 8, 8))
    table = result.layers.set_index("name")
    assert list(table.index) == [name for name, _ in model.named_modules() if name]
    conv = table.loc["conv1"]
    assert (conv["kind"], conv["output"], conv["parameters"]) == ("Conv2d", "8x8x8", 8 * 3 * 9 + 8)
    assert conv["multiply_adds"] == (8 * 8 * 8) * (3 * 9)
    assert table.loc["linear3", "multiply_adds"] == 32 * 10
    assert table.loc["relu1", ["parameters", "multiply_adds"]].tolist() == [0, 0]
    assert result.parameters == table["parameters"].sum() == sum(p.numel() for p in model.parameters())
    assert result.multiply_adds == table["multiply_adds"].sum()


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(4, 6, 3, groups=2, stride=2), nn.Linear(5, 7), nn.Conv1d(4, 6, 3, padding=1)]
)
def test_multiply_adds_agree_with_the_counter_of_torch(layer):
    from torch.utils.flop_counter import FlopCounterMode

    shape = {nn.Conv2d: (4, 9, 9), nn.Linear: (3, 5), nn.Conv1d: (4, 8)}[type(layer)]
    with FlopCounterMode(display=False) as counter:
        layer(torch.zeros(1, *shape))
    assert 2 * layer_table(layer, shape=shape).multiply_adds == counter.get_total_flops()


def test_containers_are_listed_and_count_nothing_themselves():
    table = rows(build_model({"name": "resnet18", "width": 0.1}, shape=(3, 16, 16), classes=10), (3, 16, 16))
    assert table.loc["layer2.0", "kind"] == "BasicBlock"
    assert table.loc["layer2.0", "output"] == "13x8x8"
    assert table.loc["layer2.0", "parameters"] == 0


def test_shared_parameters_count_once():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    result = layer_table(model, shape=(4,))
    assert result.parameters == result.layers["parameters"].sum() == 16
    assert result.multiply_adds == 32


def test_layers_used_twice_or_never_are_told_apart():
    table = rows(Awkward(), (4,))
    assert table.loc["twice", ["calls", "multiply_adds"]].tolist() == [2, 32]
    assert table.loc["never", ["calls", "output"]].tolist() == [0, ""]


@pytest.mark.parametrize("fail", [False, True])
def test_the_model_and_the_global_generator_are_left_as_they_were(fail):
    model = Awkward()
    model.fail = fail
    handle = model.twice.register_forward_hook(lambda *_: None)
    weights, before, generator = copy.deepcopy(model.state_dict()), modes(model), torch.get_rng_state()
    if fail:
        with pytest.raises(ModelError, match="out of order"):
            layer_table(model, shape=(4,))
    else:
        layer_table(model, shape=(4,))
    assert modes(model) == before
    assert hooks(model) == 1
    assert handle.id in model.twice._forward_hooks
    assert torch.equal(torch.get_rng_state(), generator)
    torch.testing.assert_close(model.state_dict(), weights, rtol=0, atol=0)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ModelError, match=r"cannot take inputs of shape \(2, 5\)"):
        layer_table(nn.Sequential(nn.Linear(4, 4)), shape=(5,))


def test_a_model_in_double_precision_has_a_table():
    assert rows(nn.Sequential(nn.Linear(4, 3)).double(), (4,)).loc["0", "output"] == "3"


def test_a_module_is_found_by_its_name():
    model = build_model({"name": "resnet18", "width": 0.1}, shape=(3, 16, 16), classes=10)
    assert module_named(model, "layer1.0.conv1") is model.layer1[0].conv1


@pytest.mark.parametrize(("name", "message"), [("layer1.0.con1", "Did you mean 'layer1.0.conv1'"), ("", "no layer ''")])
def test_an_unknown_layer_is_refused_with_the_closest_name(name, message):
    model = build_model({"name": "resnet18", "width": 0.1}, shape=(3, 16, 16), classes=10)
    with pytest.raises(ModelError, match=message):
        module_named(model, name)
