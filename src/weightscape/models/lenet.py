"""LeNet and Dense, the small networks of "Similarity and Matching of Neural Network Representations" (2110.14633)."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from math import prod

from torch import nn

from weightscape.errors import ModelError
from weightscape.models.families import Dense, LeNet

_SMALLEST = 16
"""Side of the smallest image of which a pixel is left after the second pool."""
_HIDDEN = 300


def build_lenet(settings: LeNet, *, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Build ``conv1``, ``relu1``, ``pool1``, ``conv2``, ``relu2``, ``pool2``, then ``fc1``, ``fc2`` and ``fc3``.

    Raises:
        ModelError: If the pools would leave nothing of an image of this shape.
    """
    channels, height, width = shape
    if min(height, width) < _SMALLEST:
        raise ModelError(
            f"lenet convolves without padding and needs images of at least {_SMALLEST}x{_SMALLEST} pixels, received "
            f"inputs of shape {shape}. Enlarge the images (the data setting 'size') or take another network."
        )
    features = 16 * _side(_side(height)) * _side(_side(width))
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 6, kernel_size=5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, kernel_size=5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(features, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, classes),
        )
    )


def _side(before: int) -> int:
    """Return the side of a map after a 5x5 convolution and a pool."""
    return (before - 4) // 2


def build_dense(settings: Dense, *, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Build linear layers ``fc1`` to ``fc4`` on flattened inputs, with ReLUs ``relu1`` to ``relu3`` between them."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    widths = (prod(shape), _HIDDEN, _HIDDEN, _HIDDEN, classes)
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        layers[f"fc{number}"] = nn.Linear(inputs, outputs)
        if number < 4:
            layers[f"relu{number}"] = nn.ReLU()
    return nn.Sequential(layers)
