"""Copies of networks, also of those that keep results of an earlier pass."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn

from weightscape.errors import ModelError


def duplicate_of(model: nn.Module, known: Mapping[int, object] | None = None) -> nn.Module:
    """Return a deep copy of a network.

    Tensors that a module keeps of a pass with gradients, such as a stored activation or the weight that
    ``weight_norm`` computes, are copied as numbers alone; PyTorch refuses to copy what led to them.

    Args:
        model: The network.
        known: By ``id`` what takes the place of some objects in the copy.

    Raises:
        ModelError: If something that the network holds cannot be copied.
    """
    memo: dict[int, object] = dict(known or {})
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo.setdefault(id(value), value.detach().clone())
    try:
        return copy.deepcopy(model, memo)
    except (RuntimeError, TypeError) as error:
        raise ModelError(
            f"The {type(model).__name__} cannot be copied, which is needed so that yours stays as it is: {error}. Take "
            "out of it what is no part of the network, such as hooks that hold open files or locks, and results of an "
            "earlier pass."
        ) from error
