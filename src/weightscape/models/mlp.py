"""Multi-layer perceptrons."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from math import prod

from torch import nn

from weightscape.models.families import Mlp


def build_mlp(settings: Mlp, *, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Build linear layers ``linear1``, ``linear2``, ... on flattened inputs with ReLUs ``relu1``, ... between them."""
    widths = (prod(shape), *settings.hidden, classes)
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        layers[f"linear{number}"] = nn.Linear(inputs, outputs, bias=settings.bias)
        if number < len(widths) - 1:
            layers[f"relu{number}"] = nn.ReLU()
    return nn.Sequential(layers)
