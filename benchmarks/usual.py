"""The usual PyTorch loop, written well: what people who do not use this package would write for themselves.

PIL images, one transform after the other, a ``DataLoader`` whose workers stay alive, NCHW, ``torch.optim.SGD`` as it
is by default, the loss read after every step. The transforms are those of torchvision (``ToTensor``, ``Normalize``,
``RandomCrop`` with padding, ``RandomHorizontalFlip``), written here with the same calls, since torchvision does not
import beside the CPU build of torch that this package is developed with.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from weightscape.data.dataset import Split

_PADDING = 4


def to_tensor(image: Image.Image) -> Tensor:
    """As ``torchvision.transforms.ToTensor``."""
    array = numpy.array(image, copy=True)
    array = array[:, :, None] if array.ndim == 2 else array
    return torch.from_numpy(array).permute(2, 0, 1).contiguous().float().div(255)


def normalize(image: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """As ``torchvision.transforms.Normalize``."""
    return image.sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


def crop_and_flip(image: Image.Image) -> Image.Image:
    """As ``RandomCrop(size, padding=4)`` and ``RandomHorizontalFlip()``."""
    width, height = image.size
    padded = ImageOps.expand(image, border=_PADDING)
    left, top = random.randint(0, 2 * _PADDING), random.randint(0, 2 * _PADDING)
    cropped = padded.crop((left, top, left + width, top + height))
    return ImageOps.mirror(cropped) if random.random() < 0.5 else cropped


class ImageByImage(TorchDataset[tuple[Tensor, int]]):
    """A split as a map-style data set, as those of torchvision: an array of pixels, a PIL image on demand."""

    def __init__(self, split: Split, *, augment: bool) -> None:
        self._pixels = split.images.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = split.labels.tolist()
        self._mean, self._std = split.mean, split.std
        self._augment = augment

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = self._pixels[index]
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        if self._augment:
            image = crop_and_flip(image)
        return normalize(to_tensor(image), self._mean, self._std), self._labels[index]


def usual_epoch(model: nn.Module, split: Split, *, batch_size: int, augment: bool, workers: int) -> Callable[[], None]:
    """Return a function that trains for one epoch."""
    loader = DataLoader(
        ImageByImage(split, augment=augment),
        batch_size=batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def train() -> None:
        model.train()
        total, hits = 0.0, 0
        for images, labels in loader:
            optimizer.zero_grad()
            logits = model(images)
            loss = functional.cross_entropy(logits, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * len(labels)
            hits += int((logits.argmax(1) == labels).sum().item())

    return train
