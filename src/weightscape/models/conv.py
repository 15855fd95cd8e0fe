"""Conv4, Conv6 and Conv8 of "Transferring Learning Trajectories of Neural Networks" (arXiv 2305.14122, appendix).

Pairs of 3x3 convolutions with a maximum pool after each pair, then three linear layers. The last pool of Conv6 and
Conv8 spans the whole map, 8x8 and 4x4 for images of 32 pixels, so that a channel becomes one feature and the flattening
is trivial. Conv4 flattens its maps: each channel becomes one feature per pixel.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from weightscape.errors import ModelError
from weightscape.models.families import Conv

_CHANNELS = {"conv4": (64, 128), "conv6": (64, 128, 256), "conv8": (64, 128, 256, 512)}
_HIDDEN = 256


def build_conv(settings: Conv, *, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Build layers ``conv1``, ``relu1``, ..., ``pool1``, ..., ``linear1`` to ``linear3``.

    Raises:
        ModelError: If a pool would leave nothing of an image of this shape.
    """
    inputs, height, width = shape
    stages = [settings.scaled(channels) for channels in _CHANNELS[settings.name]]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for stage, channels in enumerate(stages, start=1):
        for number in (2 * stage - 1, 2 * stage):
            layers[f"conv{number}"] = nn.Conv2d(inputs, channels, kernel_size=3, padding=1)
            layers[f"relu{number}"] = nn.ReLU()
            inputs = channels
        whole = stage == len(stages) and settings.name != "conv4"
        kernel = (height, width) if whole else (2, 2)
        layers[f"pool{stage}"] = nn.MaxPool2d(kernel)
        height, width = height // kernel[0], width // kernel[1]
        if not height or not width:
            raise ModelError(_too_small(settings.name, shape, halvings=len(stages) - (settings.name != "conv4")))
    layers["flatten"] = nn.Flatten()
    _append_linear(layers, inputs * height * width, hidden=settings.scaled(_HIDDEN), classes=classes)
    return nn.Sequential(layers)


def _append_linear(layers: OrderedDict[str, nn.Module], inputs: int, *, hidden: int, classes: int) -> None:
    relus = sum(name.startswith("relu") for name in layers)
    layers["linear1"] = nn.Linear(inputs, hidden)
    layers[f"relu{relus + 1}"] = nn.ReLU()
    layers["linear2"] = nn.Linear(hidden, hidden)
    layers[f"relu{relus + 2}"] = nn.ReLU()
    layers["linear3"] = nn.Linear(hidden, classes)


def _too_small(name: str, shape: tuple[int, int, int], *, halvings: int) -> str:
    return (
        f"{name} halves its maps {halvings} times and needs images of at least {2**halvings}x{2**halvings} pixels, "
        f"received inputs of shape {shape}. Enlarge the images (the data setting 'size') or take a smaller network."
    )
