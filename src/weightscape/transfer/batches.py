"""The random batches of a transfer: named by the seed of the pair and the step, never by the method.

All methods see the same batches at the same step, so the source's gradients are the same for all of them, GMT need not
compute them again at every step, and a repeated run repeats every bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.seeds import stream

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset

Batch: TypeAlias = tuple[Tensor, Tensor]
HELDOUT_PART = 10
"""One image in so many of the training split is set aside to judge matches on."""


class BatchStream:
    """Batches of the training split, augmented as in training.

    Each batch is a pure function of the seed, the purpose and its numbers, and is made when it is asked for: one at a
    time is in memory. A random tenth of the training split is set aside to judge matches on, so that no image serves
    both ends.

    Args:
        dataset: The data.
        seed: Seed of the pair of source and target.
        batch_size: Images per batch.

    Raises:
        DataError: If the training split has fewer than two images.
    """

    def __init__(self, dataset: Dataset, *, seed: int, batch_size: int) -> None:
        count = len(dataset.train)
        if count < 2:
            raise DataError(
                f"Expected at least two training images, one to match and one to judge on, received {count}."
            )
        self._dataset = dataset
        self._seed = seed
        self._batch_size = batch_size
        order = torch.randperm(count, generator=stream(seed, "subset", "heldout"))
        aside = max(1, count // HELDOUT_PART)
        self._parts = {"heldout": order[:aside], "matching": order[aside:]}

    def matching(self, step: int, count: int) -> Iterator[Batch]:
        """Yield the batches on which the gradients at a point are matched."""
        return (self._batch("matching", step, number) for number in range(count))

    def heldout(self, step: int, count: int) -> Iterator[Batch]:
        """Yield batches for the same point of images that are never matched, to judge a match on.

        They have fewer images than asked for where the part set aside is smaller.
        """
        return (self._batch("heldout", step, number) for number in range(count))

    def batch_norm(self, count: int) -> Iterator[Tensor]:
        """Yield the images that batch norms are recalibrated with, the same at every step."""
        return (self._batch("batch-norm", number)[0] for number in range(count))

    def _batch(self, purpose: str, *index: int) -> Batch:
        return self._dataset.train.sample(
            self._batch_size,
            seed=self._seed,
            index=("transfer", purpose, *index),
            augment=self._dataset.settings.augment,
            among=self._parts.get(purpose),
        )
