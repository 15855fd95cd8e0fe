"""Two networks of one architecture, given as modules or as weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from torch import Tensor, nn

from weightscape.errors import ModelError
from weightscape.weights.algebra import Weights, check_alike, weights_of

Network: TypeAlias = nn.Module | Mapping[str, Tensor]
"""A module, or its state dict."""


class Pair(NamedTuple):
    """Two sets of weights and a module that they fit.

    Attributes:
        model: The module, which belongs to the caller: never to be changed.
        first: Weights of the first network, copied.
        second: Weights of the second network, copied.
    """

    model: nn.Module
    first: Weights
    second: Weights


def as_pair(first: Network, second: Network, model: nn.Module | None = None) -> Pair:
    """Return the weights of two networks and a module that they fit.

    Args:
        first: A module or its weights.
        second: A module or weights of the same architecture.
        model: The module for two sets of weights; one of the networks themselves by default.

    Raises:
        ModelError: If the two differ in names or shapes of their tensors, or no module is known.
    """
    modules = [item for item in (model, first, second) if isinstance(item, nn.Module)]
    if not modules:
        raise ModelError(
            "Two state dicts do not say what network they are the weights of. Give the module too: model=network."
        )
    pair = Pair(modules[0], *(_weights(item) for item in (first, second)))
    check_alike(pair.first, pair.second)
    check_alike(pair.first, modules[0].state_dict())
    return pair


def _weights(network: Network) -> Weights:
    if isinstance(network, nn.Module):
        return weights_of(network)
    if not isinstance(network, Mapping):
        raise ModelError(f"Expected a module or its state dict, received {type(network).__name__}.")
    return {name: tensor.detach().clone() for name, tensor in network.items()}
