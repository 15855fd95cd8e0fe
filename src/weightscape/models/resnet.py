"""ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", arXiv 1512.03385), any width, two stems.

Tensors are named as in torchvision, whose published weights load into the ``imagenet`` stem at width 1. Every ReLU and
every residual sum is a module of its own, so that each place of the network has a name and is called once.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from weightscape.models.architecture import ResNet18

_CHANNELS = (64, 128, 256, 512)


class Add(nn.Module):
    """The sum of two maps of one shape."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return ``left + right``."""
        return left + right


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut, which projects when the stride or the width changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = _projection(inputs, outputs, stride) if stride != 1 or inputs != outputs else None
        self.add = Add()
        self.relu2 = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's output ``(n, outputs, H / stride, W / stride)``."""
        shortcut = inputs if self.downsample is None else self.downsample(inputs)
        hidden = self.relu1(self.bn1(self.conv1(inputs)))
        return cast(Tensor, self.relu2(self.add(self.bn2(self.conv2(hidden)), shortcut)))


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """A stem, four stages of two basic blocks, the mean over the map, a linear layer."""

    def __init__(self, settings: ResNet18, *, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        widths = [settings.scaled(channels) for channels in _CHANNELS]
        if settings.stem == "imagenet":
            self.conv1 = nn.Conv2d(shape[0], widths[0], kernel_size=7, stride=2, padding=3, bias=False)
        else:
            self.conv1 = nn.Conv2d(shape[0], widths[0], kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if settings.stem == "imagenet" else None
        self.layer1 = _stage(widths[0], widths[0], stride=1)
        self.layer2, self.layer3, self.layer4 = (_stage(*pair, stride=2) for pair in pairwise(widths))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(n, classes)`` of images ``(n, C, H, W)``."""
        hidden = self.relu(self.bn1(self.conv1(images)))
        if self.maxpool is not None:
            hidden = self.maxpool(hidden)
        hidden = self.layer4(self.layer3(self.layer2(self.layer1(hidden))))
        return cast(Tensor, self.fc(self.flatten(self.avgpool(hidden))))


def _stage(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1))


def build_resnet18(settings: ResNet18, *, shape: tuple[int, int, int], classes: int) -> ResNet:
    """Build a ResNet-18; batch norm of momentum 0.1, convolutions without bias."""
    return ResNet(settings, shape=shape, classes=classes)
