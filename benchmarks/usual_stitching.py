"""Stitching as it is usually written: hooks on two whole networks, and the pseudo-inverse of the pixel matrix.

The front network runs to its end and a hook keeps its activation; the back network runs from its beginning and a hook
puts the stitched activation in the place of its own. For soft targets the back network runs once more. Both networks
are frozen and in evaluation mode, so that autograd follows the stitch and what comes after it alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional


class HookedPair(nn.Module):
    """Two whole networks with a 1x1 convolution between a layer of each."""

    def __init__(self, front: nn.Module, back: nn.Module, layer: str, stitch: nn.Conv2d) -> None:
        super().__init__()
        self.front, self.back, self.stitch = front.eval(), back.eval(), stitch
        for network in (front, back):
            network.requires_grad_(False)
        self._connected = True
        self._seen: Tensor | None = None
        self._hooks = [
            front.get_submodule(layer).register_forward_hook(self._keep),
            back.get_submodule(layer).register_forward_hook(self._replace),
        ]

    def _keep(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self._seen = output

    def _replace(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        return self.stitch(self._seen) if self._connected else None

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the stitched network."""
        self.front(images)
        return self.back(images)  # type: ignore[no-any-return]

    @torch.no_grad()
    def own_logits(self, images: Tensor) -> Tensor:
        """Return the logits of the back network alone."""
        self._connected = False
        logits = self.back(images)
        self._connected = True
        return logits  # type: ignore[no-any-return]

    def release(self) -> None:
        """Remove the hooks."""
        for hook in self._hooks:
            hook.remove()


def convolution(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """Return a 1x1 convolution with these weights ``(C2, C1)``."""
    stitch = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    with torch.no_grad():
        stitch.weight.copy_(weight[:, :, None, None])
        stitch.bias.copy_(bias)  # type: ignore[union-attr]
    return stitch


def soft_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean cross-entropy to a teacher's softmax."""
    return -(teacher.softmax(1) * functional.log_softmax(logits, 1)).sum(1).mean()


@dataclass(frozen=True)
class Usual:
    """What training needs of the data.

    Attributes:
        images: Normalised images ``(n, c, h, w)``.
        orders: The order of the images in each epoch.
        batch_size: Images per step; the last, smaller batch is dropped.
    """

    images: Tensor
    orders: list[Tensor]
    batch_size: int

    def batches(self, epoch: int) -> list[Tensor]:
        """Return the rows of each full batch."""
        order = self.orders[epoch]
        return [part for part in order.split(self.batch_size) if len(part) == self.batch_size]


def usual_step(pair: HookedPair, optimizer: torch.optim.Optimizer, images: Tensor, teacher: Tensor | None) -> float:
    """Take one step to the back network's answers, computing them unless they are given; return the loss."""
    optimizer.zero_grad()
    logits = pair(images)
    target = pair.own_logits(images) if teacher is None else teacher
    loss = soft_loss(logits, target)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.item())


def usual_training(pair: HookedPair, data: Usual, *, lr: float) -> None:
    """Train a stitch with Adam, a tenth of the rate after each third of the epochs."""
    optimizer = torch.optim.Adam(pair.stitch.parameters(), lr=lr)
    epochs = len(data.orders)
    thirds = [-(-epochs // 3), -(-2 * epochs // 3)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, thirds, gamma=0.1)
    for epoch in range(epochs):
        for rows in data.batches(epoch):
            usual_step(pair, optimizer, data.images[rows], None)
        schedule.step()


@torch.no_grad()
def usual_accuracy(pair: HookedPair, images: Tensor, labels: Tensor, batch_size: int) -> tuple[float, float]:
    """Return the accuracy of the stitched network and of the back network."""
    hits = own = 0
    for part, targets in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        hits += int((pair(part).argmax(1) == targets).sum())
        own += int((pair.own_logits(part).argmax(1) == targets).sum())
    return hits / len(labels), own / len(labels)


@torch.no_grad()
def usual_activations(network: nn.Module, layer: str, images: Tensor, batch_size: int) -> Tensor:
    """Return the activations of all images, from a hook."""
    found: list[Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: found.append(output.clone())
    )
    for part in images.split(batch_size):
        network(part)
    hook.remove()
    return torch.cat(found)


def pseudo_inverse_fit(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight ``(C2, C1)`` and bias ``(C2,)`` of the affine least squares between maps, by NumPy's ``pinv``."""
    rows, targets = (maps.permute(0, 2, 3, 1).flatten(0, 2).double().numpy() for maps in (first, second))
    inputs = numpy.hstack([rows, numpy.ones((len(rows), 1))])
    found = torch.from_numpy(numpy.linalg.pinv(inputs) @ targets)
    return found[:-1].T.contiguous(), found[-1].contiguous()
