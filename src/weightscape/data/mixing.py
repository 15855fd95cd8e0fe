"""Mixup: images and labels become weighted means of two (arXiv 1710.09412)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from weightscape.data.transform_settings import Mixup
from weightscape.seeds import numpy_stream, stream


@dataclass(frozen=True)
class Mixture:
    """Who is mixed with whom.

    Attributes:
        weight: Weight of each image itself ``(n,)`` float32; the partner has the rest.
        rank: With ``per: image`` the place in the order of each image's partner ``(n,)`` int64; with ``per: batch``
            numbers whose order within a batch gives the partners.
        whole: Whether a batch shares the weight of its first image, and partners come from the batch.
    """

    weight: Tensor
    rank: Tensor
    whole: bool

    def to(self, device: torch.device | str) -> Mixture:
        """Return the mixture on a device."""
        return replace(self, weight=self.weight.to(device), rank=self.rank.to(device))

    def partners(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Return the weights ``(b,)`` of the images of a batch, and the places of their partners in the order."""
        weight, rank = self.weight[rows], self.rank[rows]
        if not self.whole:
            return weight, rank
        return weight[:1].expand(len(rank)), rows.start + rank.argsort()


def draw_mixture(count: int, transform: Mixup, *, seed: int, index: tuple[int | str, ...]) -> Mixture:
    """Draw the weights, Beta(alpha, alpha), and a permutation of the order."""
    weight = numpy_stream(seed, "augment", *index, "weight").beta(transform.alpha, transform.alpha, count)
    rank = torch.randperm(count, generator=stream(seed, "augment", *index, "partner"))
    return Mixture(torch.from_numpy(weight).float(), rank, transform.per == "batch")


def mixed_images(images: Tensor, others: Tensor, weight: Tensor) -> Tensor:
    """Return ``weight * images + (1 - weight) * others`` for each image of a batch ``(b, C, H, W)``."""
    return others.lerp(images, weight.view(-1, 1, 1, 1))


def mixed_labels(labels: Tensor, others: Tensor, weight: Tensor, classes: int) -> Tensor:
    """Return the mixtures of two labels ``(b, classes)`` float32.

    Args:
        labels: Classes ``(b,)``, whose mixtures sum to 1; or several labels, or shares, ``(b, classes)`` float.
        others: Labels of the partners, of the same kind.
        weight: Weight of `labels` ``(b,)``.
        classes: Number of classes.
    """
    if not labels.is_floating_point():
        labels, others = one_hot(labels, classes), one_hot(others, classes)
    share = weight.unsqueeze(1)
    return share * labels + (1 - share) * others
