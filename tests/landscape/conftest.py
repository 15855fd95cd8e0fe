"""Small networks whose barriers are known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weightscape.symmetry.discovery import discover
from weightscape.symmetry.permutation import Permutation


class SmallNet(nn.Module):
    """A convolution with batch norm and a linear layer, for images (1, 6, 6) and 3 classes."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.conv = nn.Conv2d(1, 12, 3)
        self.bn = nn.BatchNorm2d(12)
        self.fc = nn.Linear(12, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.8)
            self.bn.running_mean.copy_(torch.randn(12, generator=generator))
            self.bn.running_var.copy_(torch.rand(12, generator=generator) + 0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(torch.relu(self.bn(self.conv(images))).mean(dim=(2, 3)))


def mlp(seed: int, hidden: int = 16) -> nn.Sequential:
    """Return a ReLU network for inputs (5,) and 3 classes with normal weights."""
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Linear(5, hidden), nn.ReLU(), nn.Linear(hidden, 3))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return network


def shuffled_copy(network: nn.Module, example: Tensor, seed: int = 0) -> tuple[dict[str, Tensor], Permutation]:
    """Return the weights of a network with its hidden units in random order, and that order."""
    symmetry = discover(network, example)
    order = symmetry.random(torch.Generator().manual_seed(seed))
    return order.apply(network.state_dict()), order


def samples(
    count: int = 60, shape: tuple[int, ...] = (5,), batch: int = 25, dtype: torch.dtype = torch.float32
) -> list[tuple[Tensor, Tensor]]:
    """Return labelled batches of random inputs, the last one smaller."""
    generator = torch.Generator().manual_seed(99)
    inputs = torch.randn(count, *shape, generator=generator).to(dtype)
    labels = torch.randint(0, 3, (count,), generator=generator)
    return list(zip(inputs.split(batch), labels.split(batch), strict=True))
