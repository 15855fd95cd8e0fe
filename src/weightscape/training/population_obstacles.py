"""What keeps networks from being trained as a stack."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from weightscape.training.recipe import OneCycle, OwnLoss, Recipe

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset

_DROPOUT = nn.modules.dropout._DropoutNd
_NORMALISATION = nn.modules.batchnorm._NormBase
_SHARED = ("epochs", "batch_size", "last_batch", "loss")
_FREE = ("optimizer", "schedule", "warm_up", "best")
_PROBE = 4
"""Images on which a stack is compared with its members."""


def obstacle(models: Sequence[nn.Module], dataset: Dataset, recipes: Sequence[Recipe]) -> str:
    """Return why a population cannot be trained as a stack; nothing if it can.

    Members are of one architecture, loss, batch size and number of epochs; weights, seeds, learning rates, momenta,
    weight decays and schedules are their own. Layers that draw random numbers, such as dropout, are refused: their
    noise would not be that of a network trained alone.
    """
    return _recipe_obstacle(recipes) or _model_obstacle(models) or _probe_obstacle(models, dataset)


def _recipe_obstacle(recipes: Sequence[Recipe]) -> str:
    for name in _SHARED:
        if len({getattr(recipe, name) for recipe in recipes}) > 1:
            return f"the members differ in {name}"
    for name, field in Recipe.model_fields.items():
        if name not in {*_SHARED, *_FREE} and any(getattr(recipe, name) != field.default for recipe in recipes):
            return f"there is no stacked form of the recipe's {name!r}"
    for recipe in recipes:
        if isinstance(recipe.schedule, OneCycle) and recipe.schedule.momentum is not None:
            return "there is no stacked form of a schedule that moves the momentum"
        if isinstance(recipe.loss, OwnLoss):
            return f"the loss {recipe.loss.name} is not part of this package"
        if recipe.optimizer.groups:
            return "there is no stacked form of groups of parameters"
    if len({(recipe.optimizer.name, getattr(recipe.optimizer, "nesterov", None)) for recipe in recipes}) > 1:
        return "the members have optimisers of different kinds"
    return ""


def _model_obstacle(models: Sequence[nn.Module]) -> str:
    if len({_form(model) for model in models}) > 1:
        return "the members differ in their layers, or in what is trained of them"
    if not any(parameter.requires_grad for parameter in models[0].parameters()):
        return "no parameter is trained"
    for name, module in models[0].named_modules():
        if isinstance(module, _DROPOUT) and module.p:
            return f"the layer {name!r} draws random numbers"
        if isinstance(module, _NORMALISATION) and module.track_running_stats and module.momentum is None:
            return f"the layer {name!r} keeps cumulative means (momentum None)"
    return ""


def _form(model: nn.Module) -> tuple[object, ...]:
    tensors = [(name, tensor.shape, tensor.dtype) for name, tensor in model.state_dict().items()]
    trained = [parameter.requires_grad for parameter in model.parameters()]
    return str(model), *tensors, *trained


def _probe_obstacle(models: Sequence[nn.Module], dataset: Dataset) -> str:
    """Compare a stack with its members on a few images; a layer that is not vectorised, or hides state, shows here."""
    images = dataset.train.normalised(slice(_PROBE)).cpu()
    members = [copy.deepcopy(model).cpu().train() for model in models]
    template = members[0]
    try:
        parameters, buffers = stack_module_state(members)
        stacked = vmap(lambda p, b: functional_call(template, (p, b), (images,)))(parameters, buffers).detach()
    except (RuntimeError, ValueError) as error:
        return f"the network cannot be vectorised ({str(error).splitlines()[0]})"
    with torch.no_grad():
        alone = torch.stack([member(images) for member in members])
    return "" if _close(stacked, alone) else "the network computes something else in a stack than alone"


def _close(stacked: Tensor, alone: Tensor) -> bool:
    return stacked.shape == alone.shape and torch.allclose(
        stacked, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max()), equal_nan=True
    )
