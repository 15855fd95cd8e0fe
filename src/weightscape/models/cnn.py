"""Networks of equal convolutions: depth, channels, kernel, pools and one or two linear layers are options.

Layers carry the names of the published weights, which count blocks from 0: ``conv0``, ``act0``, ``conv1``, ``act1``,
``pool1``, ..., ``flatten``, ``fc`` (``act``, ``fc_2``). The networks return logits; the published ones end in a
logarithm of a softmax, which changes neither their classes nor their cross-entropy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from weightscape.errors import ModelError
from weightscape.models.families import Cnn

_POOL = 2
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def build_cnn(settings: Cnn, *, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Build `depth` convolutions with their activations and pools, and one or two linear layers.

    Raises:
        ModelError: If a pool would leave nothing of an image of this shape.
    """
    channels, *sides = shape
    activation = _ACTIVATIONS[settings.activation]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block in range(settings.depth):
        layers[f"conv{block}"] = nn.Conv2d(channels, settings.channels, settings.kernel, padding=settings.kernel // 2)
        layers[f"act{block}"] = activation()
        channels = settings.channels
        sides = [side + 2 * (settings.kernel // 2) - settings.kernel + 1 for side in sides]
        if settings.pooling != "none" and (block + 1) % settings.pool_every == 0:
            layers[f"pool{block}"] = _pool(settings)
            sides = [(side - _POOL) // settings.pool_stride + 1 for side in sides]
        if min(sides) < 1:
            raise ModelError(_too_small(block, shape))
    layers["flatten"] = nn.Flatten()
    features = channels * sides[0] * sides[1]
    if settings.hidden is None:
        layers["fc"] = nn.Linear(features, classes)
    else:
        layers["fc"] = nn.Linear(features, settings.hidden)
        layers["act"] = activation()
        layers["fc_2"] = nn.Linear(settings.hidden, classes)
    return nn.Sequential(layers)


def _pool(settings: Cnn) -> nn.Module:
    kind = nn.AvgPool2d if settings.pooling == "average" else nn.MaxPool2d
    return kind(_POOL, stride=settings.pool_stride)


def _too_small(block: int, shape: tuple[int, int, int]) -> str:
    return (
        f"The pool after block {block} would leave nothing of inputs of shape {shape}. Take fewer blocks (depth), "
        "fewer pools (a larger pool_every, or pooling: none), or larger images (the data setting 'size')."
    )
