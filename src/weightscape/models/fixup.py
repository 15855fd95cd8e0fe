"""Residual networks that train without batch norm: scalar biases and scales, first weights that depend on the depth.

Fixup (Zhang et al., arXiv 1901.09321) in the form of "What is being transferred in transfer learning?" (arXiv
2008.11687): the stem keeps PyTorch's default, and so does the head unless it starts at zero. Having no statistics,
these networks can be averaged and interpolated without recalibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from weightscape.models.families import Fixup
from weightscape.models.resnet import BLOCKS, Add, residual_stages, stem_convolution, stem_pool

_CHANNELS = (64, 128, 256, 512)


def _scalar(value: float) -> nn.Parameter:
    return nn.Parameter(torch.full((1,), value))


class FixupBasicBlock(nn.Module):
    """Two 3x3 convolutions with scalar biases; the projected shortcut shares the first bias."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.downsample = _projection(inputs, channels, stride)
        self.bias1a, self.bias1b, self.bias2a, self.bias2b = (_scalar(0.0) for _ in range(4))
        self.scale = _scalar(1.0)
        self.conv1 = nn.Conv2d(inputs, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.add = Add()
        self.relu2 = nn.ReLU()

    @property
    def convolutions(self) -> tuple[nn.Conv2d, ...]:
        """The convolutions of the branch, in order."""
        return self.conv1, self.conv2

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's output ``(n, channels, H / stride, W / stride)``."""
        shifted = inputs + self.bias1a
        shortcut = inputs if self.downsample is None else self.downsample(shifted)
        hidden = self.relu1(self.conv1(shifted) + self.bias1b)
        branch = self.scale * self.conv2(hidden + self.bias2a) + self.bias2b
        return cast(Tensor, self.relu2(self.add(branch, shortcut)))


class FixupBottleneck(nn.Module):
    """Convolutions 1x1, 3x3 (which strides) and 1x1 to four times the channels, with scalar biases."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        outputs = self.expansion * channels
        self.downsample = _projection(inputs, outputs, stride)
        self.bias1a, self.bias1b, self.bias2a, self.bias2b, self.bias3a, self.bias3b = (_scalar(0.0) for _ in range(6))
        self.scale = _scalar(1.0)
        self.conv1 = nn.Conv2d(inputs, channels, kernel_size=1, bias=False)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(channels, outputs, kernel_size=1, bias=False)
        self.add = Add()
        self.relu3 = nn.ReLU()

    @property
    def convolutions(self) -> tuple[nn.Conv2d, ...]:
        """The convolutions of the branch, in order."""
        return self.conv1, self.conv2, self.conv3

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's output ``(n, 4 channels, H / stride, W / stride)``."""
        shifted = inputs + self.bias1a
        shortcut = inputs if self.downsample is None else self.downsample(shifted)
        hidden = self.relu1(self.conv1(shifted) + self.bias1b)
        hidden = self.relu2(self.conv2(hidden + self.bias2a) + self.bias2b)
        branch = self.scale * self.conv3(hidden + self.bias3a) + self.bias3b
        return cast(Tensor, self.relu3(self.add(branch, shortcut)))


def _projection(inputs: int, outputs: int, stride: int) -> nn.Conv2d | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)


class FixupResNet(nn.Module):
    """A stem, stages ``layer1`` to ``layer4`` of Fixup blocks, the mean over the map, a linear layer ``fc``."""

    def __init__(self, settings: Fixup, *, counts: Sequence[int], inputs: int, classes: int) -> None:
        super().__init__()
        block = FixupBottleneck if settings.name == "fixup_resnet50" else FixupBasicBlock
        widths = [settings.scaled(channels) for channels in _CHANNELS]
        self.bias1, self.bias2 = _scalar(0.0), _scalar(0.0)
        self.conv1 = stem_convolution(inputs, widths[0], settings.stem)
        self.relu = nn.ReLU()
        self.maxpool = stem_pool(settings.stem)
        stages = residual_stages(block, expansion=block.expansion, widths=widths, counts=counts)
        self._stages = list(stages)
        for name, stage in stages.items():
            setattr(self, name, stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(block.expansion * widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(n, classes)`` of images ``(n, C, H, W)``."""
        hidden = self.relu(self.conv1(images) + self.bias1)
        if self.maxpool is not None:
            hidden = self.maxpool(hidden)
        for name in self._stages:
            hidden = getattr(self, name)(hidden)
        return cast(Tensor, self.fc(self.flatten(self.avgpool(hidden)) + self.bias2))


def build_fixup(settings: Fixup, *, shape: tuple[int, int, int], classes: int) -> FixupResNet:
    """Build a ResNet-18, -34 or -50 without batch norm, initialised as Fixup prescribes."""
    counts = BLOCKS[settings.name.removeprefix("fixup_")]
    model = FixupResNet(settings, counts=counts, inputs=shape[0], classes=classes)
    for module in model.modules():
        if isinstance(module, FixupBasicBlock | FixupBottleneck):
            _initialise(module, blocks=sum(counts))
    if settings.zero_head:
        nn.init.zeros_(model.fc.weight)
        nn.init.zeros_(model.fc.bias)
    return model


def _initialise(block: FixupBasicBlock | FixupBottleneck, *, blocks: int) -> None:
    """Draw the m convolutions of a branch by He's rule times ``blocks ** (-1 / (2 m - 2))``, the last one zero."""
    *before, last = block.convolutions
    for convolution in before:
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        convolution.weight.data.mul_(blocks ** (-1 / (2 * len(before))))
    nn.init.zeros_(last.weight)
    if block.downsample is not None:
        nn.init.kaiming_normal_(block.downsample.weight, mode="fan_out", nonlinearity="relu")
