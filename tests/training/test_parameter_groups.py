from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from weightscape.data.dataset import Dataset
from weightscape.errors import TrainingError
from weightscape.training.learner import Learner
from weightscape.training.optimizers import build_optimizer, parameter_groups, pull_to_start
from weightscape.training.recipe import Recipe
from weightscape.training.run import train_model

OPTIMIZERS = ["sgd", "adam", "adamw"]


def _recipe(name: str, *groups: object, **options: object) -> Recipe:
    optimizer = {"name": name, "lr": 0.05, "groups": groups, **options}
    return Recipe.model_validate({"epochs": 2, "batch_size": 16, "optimizer": optimizer})


def _names(model: nn.Module, recipe: Recipe) -> list[set[str]]:
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, recipe.optimizer)
    return [{known[id(parameter)] for parameter in group["params"]} for group in groups]


def test_kinds_and_names_choose_parameters_and_the_first_group_wins(convolutional: nn.Module) -> None:
    recipe = _recipe("sgd", {"kinds": ["norm"]}, {"names": "^9"}, {"kinds": ["bias", "norm"]})
    assert _names(convolutional, recipe) == [
        {"1.weight", "1.bias"},
        {"9.weight", "9.bias"},
        {"0.bias"},
        {"0.weight", "5.weight"},
    ]


def test_every_kind_of_normalisation_is_one() -> None:
    layers = [nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.BatchNorm1d(4), nn.InstanceNorm1d(4, affine=True), nn.RMSNorm(4)]
    model = nn.Sequential(*layers, nn.Linear(4, 4))
    assert _names(model, _recipe("sgd", {"kinds": ["norm"]}))[1] == {"5.weight", "5.bias"}


def test_a_name_that_is_found_nowhere_is_a_mistake(linear: nn.Module) -> None:
    with pytest.raises(TrainingError, match="'heed' is found in the name of no parameter"):
        parameter_groups(linear, _recipe("sgd", {"names": "heed"}).optimizer)
    with pytest.raises(ValueError, match="needs 'kinds'"):
        _recipe("sgd", {"weight_decay": 0.0})
    with pytest.raises(ValueError, match="regular expression"):
        _recipe("sgd", {"names": "("})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_decay_on_norms_and_biases_torch_does_the_same(
    name: str, plain_dataset: Dataset, linear: nn.Module
) -> None:
    # Published recipes that put weight decay on norms and biases (arXiv 2110.14633, 2008.11687) can be told apart.
    model = nn.Sequential(*linear, nn.LayerNorm(3), nn.Linear(3, 3))
    recipe = _recipe(name, {"kinds": ["bias", "norm"], "weight_decay": 0.0, "lr_factor": 0.1}, weight_decay=0.1)
    found = train_model(model, plain_dataset, recipe=recipe, order_seed=3).trajectory.last
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for parameter in model.parameters():
        parts[parameter.ndim > 1].append(parameter)
    groups = [{"params": parts[0], "lr": 0.005, "weight_decay": 0.0}, {"params": parts[1]}]
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    extra = {"momentum": 0.9} if name == "sgd" else {}
    optimizer = kind(groups, lr=0.05, weight_decay=0.1, **extra)
    for epoch in range(2):
        for images, labels in plain_dataset.train.epoch(16, seed=3, epoch=epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    for key, tensor in model.state_dict().items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-3, atol=1e-5)


def test_a_factor_of_0_keeps_parameters_as_they_are(plain_dataset: Dataset, convolutional: nn.Module) -> None:
    recipe = _recipe("sgd", {"names": "^0", "lr_factor": 0.0}, weight_decay=0.1)
    last = train_model(convolutional, plain_dataset, recipe=recipe, order_seed=0).trajectory.last
    assert torch.equal(last["0.weight"], convolutional[0].weight)
    assert not torch.equal(last["9.weight"], convolutional[9].weight)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_towards_the_start_pulls_back_to_it(name: str) -> None:
    model = nn.Linear(3, 2, bias=False).double()
    group = {"names": "weight", "weight_decay": 0.5, "decay_towards": "start"}
    learner = Learner(model, _recipe(name, group, lr=0.1), "cpu")
    (trained,) = learner.model.parameters()
    with torch.no_grad():
        trained += 1.0
    images = torch.zeros(4, 3, dtype=torch.float64)  # no gradient but that of the decay
    before = (trained - model.weight).norm().item()
    for _ in range(40):
        learner.step(images, torch.zeros(4, dtype=torch.int64))
    assert (trained - model.weight).norm().item() < 0.5 * before


def test_decay_towards_the_start_follows_its_formula() -> None:
    # L2-SP (arXiv 1802.01483): the gradient of d / 2 * |w - w0|^2 is added.
    weight = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    model = nn.Module()
    model.register_parameter("weight", weight)
    recipe = _recipe("sgd", {"names": "w", "weight_decay": 0.5, "decay_towards": "start"}, lr=0.1, momentum=0.0)
    optimizer = build_optimizer(recipe.optimizer, parameter_groups(model, recipe.optimizer))
    expected, start = weight.detach().clone(), weight.detach().clone()
    for gradient in ([1.0, -1.0], [0.5, 0.0], [0.0, 2.0]):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        pull_to_start(optimizer)
        optimizer.step()
        expected -= 0.1 * (torch.tensor(gradient, dtype=torch.float64) + 0.5 * (expected - start))
    torch.testing.assert_close(weight.detach(), expected)


def test_nothing_to_train_is_said(linear: nn.Module) -> None:
    linear.requires_grad_(False)
    with pytest.raises(TrainingError, match="nothing can be trained"):
        Learner(linear, Recipe(), "cpu")
