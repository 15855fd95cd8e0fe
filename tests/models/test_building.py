import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from weightscape.errors import ModelError
from weightscape.models.building import build_model, find_head, reset_head
from weightscape.models.resnet import ResNet

SMALL = {
    "mlp": ({"name": "mlp", "hidden": [5, 4], "bias": True}, "linear3"),
    "conv4": ({"name": "conv4", "width": 0.1}, "linear3"),
    "conv6": ({"name": "conv6", "width": 0.1}, "linear3"),
    "conv8": ({"name": "conv8", "width": 0.1}, "linear3"),
    "resnet18": ({"name": "resnet18", "width": 0.1}, "fc"),
    "tiny10": ("tiny10", "fc"),
    "lenet": ("lenet", "fc3"),
    "dense": ("dense", "fc4"),
    "cnn": ({"name": "cnn", "depth": 2, "channels": 4, "hidden": 5}, "fc_2"),
    "resnet20_w1": ("resnet20_w1", "fc"),
    "resnet50": ({"name": "resnet50", "width": 0.05}, "fc"),
}
SHAPE = (3, 32, 32)


def build(name, seed=0):
    return build_model(SMALL[name][0], shape=SHAPE, classes=4, seed=seed)


def same(left, right):
    return {name for name, tensor in left.state_dict().items() if torch.equal(tensor, right.state_dict()[name])}


@pytest.mark.parametrize("name", SMALL)
def test_a_seed_decides_every_weight(name):
    first = build(name, seed=3)
    assert same(first, build(name, seed=3)) == set(first.state_dict())
    drawn = {f"{layer}.weight" for layer, module in first.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    assert not drawn & same(first, build(name, seed=4))


def test_building_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    model = build("conv4")
    reset_head(model, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_weights_do_not_depend_on_the_process_nor_the_global_seed():
    torch.manual_seed(1)
    here = float(build_model("mlp", shape=(1, 8, 8), classes=10, seed=5).linear1.weight.detach().double().sum())
    code = (
        "from weightscape.models.building import build_model;"
        "print(float(build_model('mlp', shape=(1, 8, 8), classes=10, seed=5).linear1.weight.detach().double().sum()))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(there) == here


def test_initialisation_is_uniform_within_the_root_of_the_fan_in():
    model = build_model("conv8", shape=SHAPE, classes=10, seed=0)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            bound = module.weight[0].numel() ** -0.5
            assert 0.99 * bound < module.weight.abs().max() <= bound
            assert module.bias.abs().max() <= bound
            # the standard error of the mean of squares of n uniform draws is 0.9 / sqrt(n) of its value
            second = module.weight.square().mean() / (bound**2 / 3)
            assert abs(second - 1) < 5 * 0.9 / module.weight.numel() ** 0.5


def test_a_template_needs_no_seed_and_lands_on_the_cpu():
    with torch.device("meta"):
        model = build_model("mlp", shape=(1, 2, 2), classes=3)
    assert model.linear1.weight.device.type == "cpu"


@pytest.mark.parametrize(("shape", "classes"), [((1, 28, 28), 0), ((1, 28), 10), ((0, 28, 28), 10)])
def test_impossible_shapes_and_classes_are_refused(shape, classes):
    with pytest.raises(ModelError, match="channels, height, width"):
        build_model("mlp", shape=shape, classes=classes)


def test_wrong_settings_are_refused_as_model_errors():
    with pytest.raises(ModelError, match="Did you mean 'resnet18'"):
        build_model("resnet", shape=SHAPE, classes=10)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("classes", [None, 4])
def test_only_the_head_of_the_copy_changes(name, classes):
    model = build(name)
    original = copy.deepcopy(model)
    renewed = reset_head(model, seed=9, classes=classes)
    head = SMALL[name][1]
    assert find_head(model) == head
    assert set(model.state_dict()) - same(model, renewed) == {f"{head}.weight", f"{head}.bias"}
    assert same(model, original) == set(model.state_dict())


def test_a_head_is_decided_by_its_seed_alone():
    heads = [reset_head(build("resnet18", seed=seed), seed=6).fc.weight for seed in (0, 1)]
    assert torch.equal(*heads)
    assert not torch.equal(heads[0], reset_head(build("resnet18"), seed=7).fc.weight)


def test_a_new_head_follows_the_default_initialisation_not_the_weights_stream():
    renewed = reset_head(build_model("mlp", shape=SHAPE, classes=4, seed=0), seed=0)
    assert renewed.linear2.weight.abs().max() <= 64**-0.5
    assert not torch.equal(renewed.linear2.weight, build_model("mlp", shape=SHAPE, classes=4, seed=0).linear2.weight)


def test_a_1x1_convolution_can_be_the_head():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert find_head(model) == "1"


def test_the_number_of_classes_tells_the_head_from_later_layers():
    model = nn.ModuleDict({"classifier": nn.Linear(8, 10), "projection": nn.Linear(8, 32)})
    assert find_head(model, classes=10) == "classifier"


def test_a_model_without_such_a_head_is_refused_with_what_there_is():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 5))
    with pytest.raises(ModelError, match=r"with 10 outputs as head.*1 \(5\)"):
        reset_head(model, seed=0, classes=10)
    with pytest.raises(ModelError, match="none"):
        reset_head(nn.Conv2d(3, 8, 3), seed=0)


def test_a_head_that_shares_its_weights_is_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    with pytest.raises(ModelError, match=r"'1' shares its tensors with 0\.weight"):
        reset_head(model, seed=0)


def test_a_parametrised_head_is_refused():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))
    with pytest.raises(ModelError, match="parametrised"):
        reset_head(model, seed=0)


def test_a_new_head_keeps_the_precision_of_the_model():
    model = build("tiny10").double()
    assert reset_head(model, seed=0).fc.weight.dtype == torch.float64


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_new_head_is_the_same_on_every_device():
    model = build("tiny10")
    there = reset_head(copy.deepcopy(model).cuda(), seed=2)
    assert there.fc.weight.is_cuda
    assert torch.equal(there.fc.weight.cpu(), reset_head(model, seed=2).fc.weight)


@pytest.mark.oracle
def test_resnet18_computes_what_torchvision_computes():
    torchvision = pytest.importorskip("torchvision", exc_type=ImportError)
    oracle = torchvision.models.resnet18().eval()
    model = build_model({"name": "resnet18", "stem": "imagenet"}, shape=(3, 64, 64), classes=1000).eval()
    assert isinstance(model, ResNet)
    model.load_state_dict(oracle.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(images), oracle(images))
