"""Tiny10 of "Similarity and Matching of Neural Network Representations" (Csiszárik et al., arXiv 2110.14633)."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from weightscape.errors import ModelError
from weightscape.models.families import Tiny10

_CONVOLUTIONS = ((16, 3, 1), (16, 3, 1), (32, 3, 2), (32, 3, 1), (32, 3, 1), (64, 3, 2), (64, 3, 1), (64, 1, 1))
"""Channels, kernel size and stride of the eight convolutions, none of which pads."""
_SMALLEST = 27
"""Side of the smallest image of which a pixel is left at the end."""


def build_tiny10(settings: Tiny10, *, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Build blocks ``conv1``, ``bn1``, ``relu1`` to ``conv8``, ``bn8``, ``relu8``, the mean over the map and ``fc``.

    Maps of images of 32 pixels have sides 30, 28, 13, 11, 9, 4, 2, 2.

    Raises:
        ModelError: If the convolutions would leave nothing of an image of this shape.
    """
    if min(shape[1:]) < _SMALLEST:
        raise ModelError(
            f"tiny10 convolves without padding and needs images of at least {_SMALLEST}x{_SMALLEST} pixels, received "
            f"inputs of shape {shape}. Enlarge the images (the data setting 'size') or take another network."
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = shape[0]
    for number, (channels, kernel, stride) in enumerate(_CONVOLUTIONS, start=1):
        layers[f"conv{number}"] = nn.Conv2d(inputs, channels, kernel, stride)
        if settings.batch_norm:
            layers[f"bn{number}"] = nn.BatchNorm2d(channels)
        layers[f"relu{number}"] = nn.ReLU()
        inputs = channels
    layers |= OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(inputs, classes))
    return nn.Sequential(layers)
