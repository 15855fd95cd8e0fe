"""The random batches of a transfer: named by the seed of the pair and the step, never by the method.

All methods see the same batches at the same step, so the source's gradients are the same for all of them, GMT need not
compute them again at every step, and a repeated run repeats every bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from torch import Tensor

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset

Batch: TypeAlias = tuple[Tensor, Tensor]


class BatchStream:
    """Batches of the training split, augmented as in training.

    Each batch is a pure function of the seed, the purpose and its numbers, and is made when it is asked for: one at a
    time is in memory.

    Args:
        dataset: The data.
        seed: Seed of the pair of source and target.
        batch_size: Images per batch.
    """

    def __init__(self, dataset: Dataset, *, seed: int, batch_size: int) -> None:
        self._dataset = dataset
        self._seed = seed
        self._batch_size = batch_size

    def matching(self, step: int, count: int) -> Iterator[Batch]:
        """Yield the batches on which the gradients at a point are matched."""
        return (self._batch("matching", step, number) for number in range(count))

    def heldout(self, step: int, count: int) -> Iterator[Batch]:
        """Yield other batches for the same point, to judge a match on.

        They are drawn from the whole training split again: single images may occur in both, which flatters the judged
        match a little where the split is small beside the batches.
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
        )
