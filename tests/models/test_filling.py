"""Weights put into networks."""

import pytest
import torch

from weightscape.errors import ModelError
from weightscape.models.building import build_model
from weightscape.models.filling import fill_model


def build(name="mlp", **options):
    return build_model({"name": name, **options}, shape=(1, 32, 32), classes=10, seed=0)


def test_weights_of_the_same_architecture_are_taken():
    weights = {name: torch.full_like(tensor, 2.0) for name, tensor in build(hidden=[8]).state_dict().items()}
    model = build(hidden=[8])
    fill_model(model, weights)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_each_tensor_that_does_not_fit_is_named_with_both_shapes():
    model = build(hidden=[8], bias=True)
    with pytest.raises(ModelError) as caught:
        fill_model(model, build(hidden=[9, 3]).state_dict())
    text = str(caught.value)
    assert "linear1.bias is not in the weights" in text
    assert "linear3.weight is not in the model" in text
    assert "linear1.weight has shape (9, 1024) in the weights and (8, 1024) in the model" in text


def test_a_model_of_another_family_gets_a_short_list():
    with pytest.raises(ModelError, match=r"and \d+ more"):
        fill_model(build("resnet18", width=0.1), build(hidden=[8]).state_dict())
