"""Whether the members of a population are trained as a stack or one after the other: a fixed rule, never a timing.

A stack pays where one network alone leaves most of the device idle: for small networks on a GPU. On a CPU a loop is as
fast or faster. The rule looks at the device and at bytes counted on one forward pass, so that the same population is
trained in the same way on every machine of a kind.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from weightscape.together import Stack
from weightscape.training.population_obstacles import obstacle
from weightscape.training.recipe import Recipe

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset, Split

_LOG = logging.getLogger(__name__)
_SMALL = 256 * 2**20
"""Bytes of activations in a step up to which a network is small. A GPU moves them in about 0.2 ms, the time in which
the 20 or so kernels of a forward pass are started: below, starting kernels costs more than their work. Not measured."""
_PROBE = 8
"""Images of the forward pass on which bytes are counted."""


@dataclass(frozen=True)
class StackPlan:
    """How a population is trained, and why.

    Attributes:
        mode: All at once, or one after the other.
        reason: In words, with the numbers that decided.
        group_size: Members that are trained at once; 1 in a loop.
        member_bytes: Estimated memory of one member of a stack while it trains; 0 where it was not needed.
        limit_bytes: Memory that a stack may take; 0 where it was not needed.
    """

    mode: Literal["stack", "loop"]
    reason: str
    group_size: int = 1
    member_bytes: int = 0
    limit_bytes: int = 0

    def __str__(self) -> str:
        size = f" of up to {self.group_size}" if self.mode == "stack" else ""
        return f"{self.mode}{size}: {self.reason}"


def plan_stack(
    models: Sequence[nn.Module],
    dataset: Dataset,
    recipes: Sequence[Recipe],
    *,
    device: torch.device,
    stack: Stack,
    memory_limit: int | None = None,
) -> StackPlan:
    """Decide how to train a population.

    Args:
        models: The members at the start.
        dataset: What they learn from.
        recipes: One for each member.
        device: Where they are trained.
        stack: ``auto`` stacks networks that are small on a CUDA device; ``always`` stacks on any device whatever can be
            stacked.
        memory_limit: Bytes that a stack may take; by default half of a GPU's memory, a quarter of the machine's.
    """
    if stack == "never":
        return StackPlan("loop", "asked for")
    if stack == "auto" and device.type != "cuda":
        return StackPlan("loop", f"on {device.type} a loop is as fast")
    if stack == "auto" and len(models) == 1:
        return StackPlan("loop", "there is one member")
    found = obstacle(models, dataset, recipes)
    if found:
        if stack == "always":
            _LOG.warning("The networks are trained one after the other: %s.", found)
        return StackPlan("loop", found)
    activations = activation_bytes(models[0], dataset.train, recipes[0].batch_size)
    if stack == "auto" and activations > _SMALL:
        return StackPlan("loop", f"a step of one network keeps {_mib(activations)}, more than {_mib(_SMALL)}")
    return _sized(len(models), activations, state_bytes(models[0], recipes[0]), device, memory_limit)


def _sized(count: int, activations: int, state: int, device: torch.device, memory_limit: int | None) -> StackPlan:
    limit = memory_limit or _default_limit(device)
    # Gradients of activations are as large as these; they live in part at the same time.
    member = state + 2 * activations
    if member > limit:
        return StackPlan("loop", f"a member needs about {_mib(member)}, more than the limit of {_mib(limit)}")
    reason = f"a step of one network keeps {_mib(activations)} at its batch size; {_mib(member)} per member in all"
    return StackPlan("stack", reason, min(count, limit // member), member, limit)


def _mib(count: int) -> str:
    return f"{count / 2**20:.4g} MiB"


def _default_limit(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory) // 2
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


def state_bytes(model: nn.Module, recipe: Recipe) -> int:
    """Return the bytes of weights, their gradients, the optimiser's state and one temporary copy, of one network."""
    trained = sum(tensor.nbytes for tensor in model.parameters() if tensor.requires_grad)
    everything = sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
    return everything + trained * (2 + (1 if recipe.optimizer.name == "sgd" else 2))


def activation_bytes(model: nn.Module, split: Split, batch_size: int) -> int:
    """Return the bytes that one network keeps between forward and backward pass, with its batch, at a batch size.

    Counted on a forward pass of a copy with up to 8 images and scaled.
    """
    count = min(_PROBE, len(split))
    images = split.normalised(slice(count)).cpu()
    model = copy.deepcopy(model).cpu().train()
    own = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    kept = {images.untyped_storage().data_ptr(): images.nbytes}

    def note(tensor: Tensor) -> Tensor:
        pointer = tensor.untyped_storage().data_ptr()
        if pointer not in own:
            kept[pointer] = max(kept.get(pointer, 0), tensor.untyped_storage().nbytes())
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        alive = model(images)
    del alive
    return sum(kept.values()) * batch_size // count
