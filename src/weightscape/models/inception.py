"""InceptionV1 (GoogLeNet, Szegedy et al., arXiv 1409.4842) as arXiv 2110.14633 uses it: no auxiliary heads or dropout.

Layers carry the names of that network, which has them from TensorFlow's: a convolution is ``NAME_pre_relu_conv``, its
batch norm ``NAME_pre_relu_bn``, the concatenation of a block's four branches ``mixed3a_pre_relu``, the ReLU after it
``mixed3a``. In a block only the bottlenecks have a ReLU of their own.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from weightscape.errors import ModelError
from weightscape.models.families import Inception

_BLOCKS: dict[str, tuple[int, int, int, int, int, int]] = {
    "mixed3a": (64, 96, 128, 16, 32, 32),
    "mixed3b": (128, 128, 192, 32, 96, 64),
    "mixed4a": (192, 96, 204, 16, 48, 64),
    "mixed4b": (160, 112, 224, 24, 64, 64),
    "mixed4c": (128, 128, 256, 24, 64, 64),
    "mixed4d": (112, 144, 288, 32, 64, 64),
    "mixed4e": (256, 160, 320, 32, 128, 128),
    "mixed5a": (256, 160, 320, 48, 128, 128),
    "mixed5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of each block: 1x1; bottleneck and 3x3; bottleneck and 5x5; after the pool."""
_POOLED_BEFORE = {"mixed4a": "maxpool4", "mixed5a": "maxpool10"}
_SMALLEST = 32
"""Side of the smallest image of which a pixel is left at the end: it is halved five times."""


class Concatenation(nn.Module):
    """Maps of one height and width, their channels one after the other."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Return ``(n, sum of channels, H, W)``."""
        return torch.cat(maps, 1)


class InceptionV1(nn.Module):
    """The network; all modules are its own children, as in the published one.

    Args:
        inputs: Channels of the images.
        classes: Number of outputs.
        batch_norm: Whether a batch norm follows each convolution.
    """

    def __init__(self, inputs: int, classes: int, *, batch_norm: bool) -> None:
        super().__init__()
        self._batch_norm = batch_norm
        self.pad = nn.ZeroPad2d((2, 3, 2, 3))  # TensorFlow's "same" for a 7x7 kernel of stride 2 on even sides
        self._convolution("conv2d0", inputs, 64, kernel=7, stride=2, padding=0)
        self.conv2d0 = nn.ReLU()
        self.maxpool0 = _halving_pool()
        self.localresponsenorm0 = _response_norm()
        self._convolution("conv2d1", 64, 64, kernel=1)
        self.conv2d1 = nn.ReLU()
        self._convolution("conv2d2", 64, 192, kernel=3)
        self.conv2d2 = nn.ReLU()
        self.localresponsenorm1 = _response_norm()
        self.maxpool1 = _halving_pool()
        channels = 192
        for block in _BLOCKS:
            if block in _POOLED_BEFORE:
                self.add_module(_POOLED_BEFORE[block], _halving_pool())
            channels = self._block(block, channels)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.logits = nn.Linear(channels, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits ``(n, classes)`` of images ``(n, C, H, W)``."""
        hidden = self.conv2d0(self._pre_relu("conv2d0", self.pad(inputs)))
        hidden = self.localresponsenorm0(self.maxpool0(hidden))
        hidden = self.conv2d1(self._pre_relu("conv2d1", hidden))
        hidden = self.conv2d2(self._pre_relu("conv2d2", hidden))
        hidden = self.maxpool1(self.localresponsenorm1(hidden))
        for block in _BLOCKS:
            if block in _POOLED_BEFORE:
                hidden = getattr(self, _POOLED_BEFORE[block])(hidden)
            hidden = self._mixed(block, hidden)
        return cast(Tensor, self.logits(self.flatten(self.avgpool(hidden))))

    def _mixed(self, block: str, inputs: Tensor) -> Tensor:
        branches = [self._pre_relu(f"{block}_1x1", inputs)]
        for side in ("3x3", "5x5"):
            narrow = self._pre_relu(f"{block}_{side}_bottleneck", inputs)
            branches.append(self._pre_relu(f"{block}_{side}", getattr(self, f"{block}_{side}_bottleneck")(narrow)))
        pooled = getattr(self, f"{block}_pool")(inputs)
        branches.append(self._pre_relu(f"{block}_pool_reduce", pooled))
        return cast(Tensor, getattr(self, block)(getattr(self, f"{block}_pre_relu")(*branches)))

    def _pre_relu(self, name: str, inputs: Tensor) -> Tensor:
        hidden = getattr(self, f"{name}_pre_relu_conv")(inputs)
        return cast(Tensor, getattr(self, f"{name}_pre_relu_bn")(hidden) if self._batch_norm else hidden)

    def _block(self, block: str, inputs: int) -> int:
        """Make the layers of a block in the order of execution, and return its channels."""
        direct, narrow3, wide3, narrow5, wide5, pooled = _BLOCKS[block]
        self._convolution(f"{block}_1x1", inputs, direct, kernel=1)
        for side, narrow, wide in ((3, narrow3, wide3), (5, narrow5, wide5)):
            name = f"{block}_{side}x{side}"
            self._convolution(f"{name}_bottleneck", inputs, narrow, kernel=1)
            self.add_module(f"{name}_bottleneck", nn.ReLU())
            self._convolution(name, narrow, wide, kernel=side)
        self.add_module(f"{block}_pool", nn.MaxPool2d(3, stride=1, padding=1))
        self._convolution(f"{block}_pool_reduce", inputs, pooled, kernel=1)
        self.add_module(f"{block}_pre_relu", Concatenation())
        self.add_module(block, nn.ReLU())
        return direct + wide3 + wide5 + pooled

    def _convolution(
        self, name: str, inputs: int, outputs: int, *, kernel: int, stride: int = 1, padding: int | None = None
    ) -> None:
        around = kernel // 2 if padding is None else padding
        self.add_module(f"{name}_pre_relu_conv", nn.Conv2d(inputs, outputs, kernel, stride, around))
        if self._batch_norm:
            self.add_module(f"{name}_pre_relu_bn", nn.BatchNorm2d(outputs))


def _halving_pool() -> nn.Module:
    """The 3x3 maximum of stride 2, with a row and a column of minus infinity at the end: what ceil_mode does."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _response_norm() -> nn.Module:
    """Each channel divided by ``sqrt(1 + 1e-4 * mean of the squares of the nine channels around it)``.

    PyTorch's convention, that of the published code: TensorFlow's takes the sum, so that weights trained there need an
    alpha nine times as large.
    """
    return nn.LocalResponseNorm(size=9, alpha=1e-4, beta=0.5, k=1.0)


def build_inception(settings: Inception, *, shape: tuple[int, int, int], classes: int) -> InceptionV1:
    """Build InceptionV1; maps of images of 224 pixels have sides 112, 56, 28 (3a), 14 (4a) and 7 (5a).

    The last pool takes the mean over whatever is left of smaller or larger images.

    Raises:
        ModelError: If the pools would leave nothing of an image of this shape.
    """
    if min(shape[1:]) < _SMALLEST:
        raise ModelError(
            f"inceptionv1 halves images five times and needs at least {_SMALLEST}x{_SMALLEST} pixels, received inputs "
            f"of shape {shape}. Enlarge the images (the data setting 'size') or take another network."
        )
    return InceptionV1(shape[0], classes, batch_norm=settings.batch_norm)
