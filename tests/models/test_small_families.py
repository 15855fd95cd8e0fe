"""LeNet, Dense and the networks of the cut-point study."""

import pytest
import torch
from torch import nn

from weightscape.errors import ModelError
from weightscape.models.building import build_model
from weightscape.models.layers import layer_table

CIFAR, MNIST = (3, 32, 32), (1, 28, 28)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def outputs(model, shape):
    table = layer_table(model, shape=shape).layers
    return dict(zip(table["name"], table["output"], strict=True))


def test_lenet_has_the_published_layers_and_parameters():
    model = build_model("lenet", shape=(1, 32, 32), classes=10)
    assert count(model) == 61_706
    assert outputs(model, (1, 32, 32)) == {
        "conv1": "6x28x28",
        "relu1": "6x28x28",
        "pool1": "6x14x14",
        "conv2": "16x10x10",
        "relu2": "16x10x10",
        "pool2": "16x5x5",
        "flatten": "400",
        "fc1": "120",
        "relu3": "120",
        "fc2": "84",
        "relu4": "84",
        "fc3": "10",
    }
    assert isinstance(model.pool1, nn.MaxPool2d)


def test_lenet_takes_mnist_as_it_is():
    assert build_model("lenet", shape=MNIST, classes=10).fc1.in_features == 16 * 4 * 4


def test_dense_has_the_published_layers_and_parameters():
    model = build_model("dense", shape=CIFAR, classes=10)
    assert count(model) == 1_105_510
    assert list(outputs(model, CIFAR)) == ["flatten", "fc1", "relu1", "fc2", "relu2", "fc3", "relu3", "fc4"]


@pytest.mark.parametrize(("shape", "classes", "parameters"), [(MNIST, 5, 188_165), (CIFAR, 4, 190_532)])
def test_the_cnn_has_the_published_parameters(shape, classes, parameters):
    assert count(build_model("cnn", shape=shape, classes=classes)) == parameters


@pytest.mark.parametrize(
    ("shape", "maps", "multiply_adds"),
    [
        (MNIST, [28, 28, 14, 14, 7, 7], [0.45e6, 28.9e6, 7.23e6, 7.23e6, 1.81e6, 1.81e6]),
        (CIFAR, [32, 32, 16, 16, 8, 8], [1.77e6, 37.7e6, 9.44e6, 9.44e6, 2.36e6, 2.36e6]),
    ],
)
def test_the_cnn_has_the_published_maps_and_costs(shape, maps, multiply_adds):
    table = layer_table(build_model("cnn", shape=shape, classes=5), shape=shape).layers.set_index("name")
    assert [table.output[f"conv{block}"] for block in range(6)] == [f"64x{side}x{side}" for side in maps]
    assert [table.multiply_adds[f"conv{block}"] for block in range(6)] == pytest.approx(multiply_adds, rel=0.006)
    assert table.output["flatten"] == ("576" if shape == MNIST else "1024")
    assert [name for name in table.index if name.startswith("pool")] == ["pool1", "pool3", "pool5"]


def test_the_older_cnn_of_the_cut_point_study_has_two_linear_layers():
    options = {"depth": 3, "channels": 10, "kernel": 5, "pooling": "none", "hidden": 128}
    model = build_model({"name": "cnn", **options}, shape=MNIST, classes=5)
    convolutions = 10 * (25 + 1) + 2 * 10 * (250 + 1)
    assert count(model) == convolutions + 128 * (7840 + 1) + 5 * (128 + 1)
    assert list(outputs(model, MNIST))[-4:] == ["flatten", "fc", "act", "fc_2"]


@pytest.mark.parametrize("pooling", ["none", "average", "maximum"])
@pytest.mark.parametrize("pool_every", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("pool_stride", [1, 2])
def test_the_linear_layer_of_a_cnn_fits_its_maps(pooling, pool_every, kernel, pool_stride):
    options = {"pooling": pooling, "pool_every": pool_every, "kernel": kernel, "pool_stride": pool_stride}
    model = build_model({"name": "cnn", "depth": 2, "channels": 3, **options}, shape=(2, 9, 12), classes=4)
    assert model(torch.zeros(1, 2, 9, 12)).shape == (1, 4)


def test_a_cnn_computes_what_its_layers_say():
    options = {"depth": 2, "channels": 4, "pool_every": 1, "pooling": "maximum", "activation": "tanh", "hidden": 3}
    model = build_model({"name": "cnn", **options}, shape=(1, 8, 8), classes=2)
    images = torch.randn(3, 1, 8, 8)
    hidden = nn.functional.max_pool2d(model.conv0(images).tanh(), 2)
    hidden = nn.functional.max_pool2d(model.conv1(hidden).tanh(), 2)
    torch.testing.assert_close(model(images), model.fc_2(model.fc(hidden.flatten(1)).tanh()))


@pytest.mark.parametrize(
    ("name", "options", "side", "hint"),
    [("lenet", {}, 15, "at least 16x16 pixels"), ("cnn", {"depth": 8}, 15, r"after block 7 .* pool_every")],
)
def test_images_that_would_vanish_are_refused_before_training(name, options, side, hint):
    settings = {"name": name, **options}
    with pytest.raises(ModelError, match=hint):
        build_model(settings, shape=(3, side, 40), classes=3)
    assert build_model(settings, shape=(3, side + 1, side + 1), classes=3)(torch.zeros(1, 3, side + 1, side + 1)).shape
