"""Each published way of training that this package replaces is one recipe, with the numbers of its paper or code."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from weightscape.training.optimizers import parameter_groups
from weightscape.training.recipe import Recipe
from weightscape.training.schedules import rates


def _sgd(**options: Any) -> dict[str, Any]:
    return {"name": "sgd", "momentum": 0.9, **options}


RECIPES: dict[str, dict[str, Any]] = {
    # Learning transfer, arXiv 2305.14122.
    "mnist-mlp": {"epochs": 15, "optimizer": _sgd(lr=0.01)},
    "cifar10-conv8": {"epochs": 60, "optimizer": _sgd(lr=0.05, weight_decay=1e-4), "schedule": "cosine"},
    "imagenet-resnet18": {
        "epochs": 100,
        "optimizer": _sgd(lr=0.1, weight_decay=1e-4),
        "schedule": "cosine",
        "warm_up": "5ep",
    },
    "after-transfer": {"epochs": 10, "optimizer": {"name": "adamw", "lr": 1e-4, "weight_decay": 1e-4}},
    # The cut-point study.
    "cut-point-mnist": {
        "epochs": 40,
        "batch_size": 4096,
        "optimizer": {"name": "adam", "lr": 1e-3},
        "early_stopping": 6,
        "best": {"by": "accuracy", "first_epoch": 1},
    },
    "cut-point-cifar": {"epochs": 10, "batch_size": 64, "optimizer": {"name": "adam"}, "early_stopping": 5},
    # Phase-transition model zoos, arXiv 2504.18072, and the taxonomy of arXiv 2107.11228.
    "phases-resnet": {
        "epochs": 150,
        "batch_size": 1024,
        "optimizer": _sgd(lr=0.1, weight_decay=5e-4),
        "schedule": {"name": "one-cycle", "momentum": [0.85, 0.95]},
    },
    "phases-accumulated": {
        "epochs": 150,
        "batch_size": 1024,
        "micro_batch": 128,
        "optimizer": _sgd(lr=0.1, weight_decay=5e-4),
        "schedule": {"name": "one-cycle", "momentum": [0.85, 0.95]},
    },
    "taxonomy": {
        "epochs": 100,
        "optimizer": _sgd(lr=0.1, weight_decay=5e-4),
        "schedule": {"name": "multistep", "milestones": [75]},
        "last_batch": "dropped",
    },
    # Similarity and matching, arXiv 2110.14633.
    "stitching-base": {
        "epochs": 300,
        "optimizer": _sgd(lr=0.1, nesterov=True, weight_decay=1e-4),
        "schedule": "thirds",
        "last_batch": "dropped",
    },
    "stitching-celeba": {
        "epochs": 300,
        "optimizer": {"name": "adam", "lr": 1e-3},
        "schedule": "thirds",
        "loss": "binary-cross-entropy",
        "last_batch": "dropped",
    },
    # What is being transferred, arXiv 2008.11687: rates divided by 8, biases and scales at a tenth of them.
    "domainnet-finetune": {
        "epochs": 100,
        "batch_size": 32,
        "optimizer": _sgd(lr=0.02 / 8, weight_decay=1e-4, groups=[{"names": "bias|scale", "lr_factor": 0.1}]),
        "schedule": {"name": "multistep", "milestones": [30, 60, 90]},
    },
    "chexpert-scratch": {
        "epochs": 400,
        "batch_size": 256,
        "optimizer": _sgd(lr=0.1, weight_decay=1e-4, groups=[{"names": "bias|scale", "lr_factor": 0.1}]),
        "loss": "binary-cross-entropy",
    },
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_published_recipe_is_one_recipe(name: str) -> None:
    recipe = Recipe.model_validate(RECIPES[name])
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def _rates(name: str, length: int = 1) -> list[tuple[float, float | None]]:
    recipe = Recipe.model_validate(RECIPES[name])
    steps = (divmod(step, length) for step in range(recipe.epochs * length))
    found = (rates(recipe, epoch, iteration, length=length) for epoch, iteration in steps)
    return [(rate.lr, rate.momentum) for rate in found]


def test_the_zoos_cycle_their_momentum_and_take_the_whole_cycle() -> None:
    # With accumulated gradients the published code steps its schedule once per update but plans for every micro-batch,
    # so that the cycle is cut: 4 micro-batches end with the rate near 0.099. Here the length counts updates.
    for name in ("phases-resnet", "phases-accumulated"):
        found = _rates(name, length=49)
        assert found[0] == pytest.approx((0.004, 0.95))
        assert found[-1] == pytest.approx((4e-7, 0.95))
        assert max(lr for lr, _ in found) == pytest.approx(0.1, rel=1e-5)
        assert min(momentum or 0 for _, momentum in found) == pytest.approx(0.85, abs=1e-5)
        assert found[115 * 49][0] == pytest.approx(0.025, abs=2e-3)  # where the published metrics are read


def test_milestones_drop_before_the_epochs_of_the_paper() -> None:
    drops = [lr for lr, _ in _rates("domainnet-finetune")]
    expected = [0.0025 * 0.1 ** ((epoch >= 30) + (epoch >= 60) + (epoch >= 90)) for epoch in range(100)]
    assert drops == pytest.approx(expected)
    assert [lr for lr, _ in _rates("stitching-base")][99:101] == pytest.approx([0.1, 0.01])


def test_the_cosine_of_after_the_warm_up_is_not_shifted() -> None:
    found = [lr for lr, _ in _rates("imagenet-resnet18")]
    assert found[4:6] == pytest.approx([0.1, 0.05 * (1 + math.cos(math.pi * 5 / 100))])


def test_biases_and_scales_learn_at_a_tenth_of_the_rate() -> None:
    class Block(nn.Module):
        """Scalar biases and a scale, as in Fixup networks."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, 1, bias=False)
            self.bias1a, self.scale = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.ones(1))
            self.fc = nn.Linear(4, 2)

    block = Block()
    recipe = Recipe.model_validate(RECIPES["domainnet-finetune"])
    slow, rest = parameter_groups(block, recipe.optimizer)
    named = {id(parameter): name for name, parameter in block.named_parameters()}
    assert {named[id(parameter)] for parameter in slow["params"]} == {"bias1a", "scale", "fc.bias"}
    assert {named[id(parameter)] for parameter in rest["params"]} == {"conv1.weight", "fc.weight"}
    assert slow["lr"] == pytest.approx(0.00025)
    assert slow["weight_decay"] == 1e-4  # the published groups decay too


def test_dropped_batches_leave_the_number_of_published_iterations() -> None:
    from weightscape.training.keeping import epoch_length

    recipe = Recipe.model_validate(RECIPES["stitching-base"])
    assert epoch_length(50_000, recipe) == 390
    assert epoch_length(50_000, Recipe()) == 391
