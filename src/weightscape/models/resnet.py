"""Residual networks (He et al., "Deep Residual Learning for Image Recognition", arXiv 1512.03385) with batch norm.

Tensors are named as in torchvision, whose published weights load into the ``imagenet`` stem at width 1. Every ReLU and
every residual sum is a module of its own, so that each place of the network has a name and is called once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from weightscape.models.families import ResNet as ResNetSettings
from weightscape.models.families import ResNet20, Stem
from weightscape.models.initialisation import initialise

_CHANNELS = (64, 128, 256, 512)
_CHANNELS_OF_RESNET20 = (16, 32, 64)
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
"""Number of blocks of each stage."""


class Add(nn.Module):
    """The sum of two maps of one shape."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return ``left + right``."""
        return left + right


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut, which projects when the stride or the width changes."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _projection(inputs, channels, stride)
        self.add = Add()
        self.relu2 = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's output ``(n, channels, H / stride, W / stride)``."""
        shortcut = inputs if self.downsample is None else self.downsample(inputs)
        hidden = self.relu1(self.bn1(self.conv1(inputs)))
        return cast(Tensor, self.relu2(self.add(self.bn2(self.conv2(hidden)), shortcut)))


class Bottleneck(nn.Module):
    """Convolutions 1x1, 3x3 (which strides) and 1x1 to four times the channels, with batch norm, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        outputs = self.expansion * channels
        self.conv1 = nn.Conv2d(inputs, channels, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(channels, outputs, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _projection(inputs, outputs, stride)
        self.add = Add()
        self.relu3 = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's output ``(n, 4 channels, H / stride, W / stride)``."""
        shortcut = inputs if self.downsample is None else self.downsample(inputs)
        hidden = self.relu1(self.bn1(self.conv1(inputs)))
        hidden = self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(hidden)))))
        return cast(Tensor, self.relu3(self.add(hidden, shortcut)))


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """A stem, stages of residual blocks ``layer1``, ``layer2``, ..., the mean over the map, a linear layer ``fc``."""

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        *,
        widths: Sequence[int],
        counts: Sequence[int],
        stem: Stem,
        inputs: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.conv1 = stem_convolution(inputs, widths[0], stem)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.maxpool = stem_pool(stem)
        stages = residual_stages(block, expansion=block.expansion, widths=widths, counts=counts)
        self._stages = list(stages)
        for name, stage in stages.items():
            setattr(self, name, stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(block.expansion * widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(n, classes)`` of images ``(n, C, H, W)``."""
        hidden = self.relu(self.bn1(self.conv1(images)))
        if self.maxpool is not None:
            hidden = self.maxpool(hidden)
        for name in self._stages:
            hidden = getattr(self, name)(hidden)
        return cast(Tensor, self.fc(self.flatten(self.avgpool(hidden))))


def residual_stages(
    block: Callable[[int, int, int], nn.Module], *, expansion: int, widths: Sequence[int], counts: Sequence[int]
) -> dict[str, nn.Sequential]:
    """Return the stages ``layer1``, ``layer2``, ... of a residual network; all but the first halve the map.

    Args:
        block: Makes a block from its input channels, its width and its stride.
        expansion: Output channels of a block for each channel of its width.
        widths: Width of the blocks of each stage.
        counts: Number of blocks of each stage.
    """
    stages: dict[str, nn.Sequential] = {}
    ends = pairwise([widths[0], *(expansion * width for width in widths)])
    for number, ((first, last), width, count) in enumerate(zip(ends, widths, counts, strict=True), start=1):
        places = [(first, 1 if number == 1 else 2)] + [(last, 1)] * (count - 1)
        stages[f"layer{number}"] = nn.Sequential(*(block(inputs, width, stride) for inputs, stride in places))
    return stages


def stem_convolution(inputs: int, channels: int, stem: Stem) -> nn.Conv2d:
    """Return the first convolution, without bias: 7x7 of stride 2 for ``imagenet``, else 3x3."""
    if stem == "imagenet":
        return nn.Conv2d(inputs, channels, kernel_size=7, stride=2, padding=3, bias=False)
    return nn.Conv2d(inputs, channels, kernel_size=3, padding=1, bias=False)


def stem_pool(stem: Stem) -> nn.MaxPool2d | None:
    """Return the pool after the first convolution: a 3x3 maximum of stride 2 for ``imagenet``, else none."""
    return nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if stem == "imagenet" else None


def build_resnet(settings: ResNetSettings, *, shape: tuple[int, int, int], classes: int) -> ResNet:
    """Build a ResNet-18, -34 or -50; batch norm of momentum 0.1, convolutions without bias."""
    model = ResNet(
        Bottleneck if settings.name == "resnet50" else BasicBlock,
        widths=[settings.scaled(channels) for channels in _CHANNELS],
        counts=BLOCKS[settings.name],
        stem=settings.stem,
        inputs=shape[0],
        classes=classes,
    )
    initialise(model, settings.initialisation)
    return model


def build_resnet20(settings: ResNet20, *, shape: tuple[int, int, int], classes: int) -> ResNet:
    """Build a ResNet-20 of three stages of three basic blocks, 1 to 5 times as wide."""
    model = ResNet(
        BasicBlock,
        widths=[settings.widening * channels for channels in _CHANNELS_OF_RESNET20],
        counts=(3, 3, 3),
        stem="small",
        inputs=shape[0],
        classes=classes,
    )
    initialise(model, settings.initialisation)
    return model
