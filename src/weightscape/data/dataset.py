"""A data set in memory: uint8 images on one device, normalised batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weightscape.data.mixing import mixed_images, mixed_labels
from weightscape.data.pipeline import Pipeline, Rows, draw_pipeline, without_border
from weightscape.data.specification import DataSettings
from weightscape.data.transforms import Augmentation
from weightscape.errors import DataError
from weightscape.seeds import stream

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Split:
    """The training, validation or test images of a data set.

    Attributes:
        images: Pixels ``(n, C, H, W)`` uint8, with the border if there is one.
        labels: Class of each image ``(n,)`` int64, counted from 0; or several labels each, ``(n, k)`` float.
        indices: Row of each image in the official file ``(n,)`` int64.
        mean: Mean of each channel ``(C,)``, for pixels in [0, 1].
        std: Standard deviation of each channel ``(C,)``.
        classes: Number of classes; None for as many as the largest label says.
        border: Pixels on each side of the images that no network sees, but for crops of an augmentation.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    mean: Tensor
    std: Tensor
    classes: int | None = None
    border: int = 0

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.indices):
            raise DataError(
                f"A split needs one label and one index per image, received {len(self.images)} images, "
                f"{len(self.labels)} labels, {len(self.indices)} indices."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image as a network sees it."""
        channels, height, width = self.images.shape[1:]
        return channels, height - 2 * self.border, width - 2 * self.border

    def to(self, device: str | torch.device) -> Split:
        """Return the split on a device."""
        names = ("images", "labels", "indices", "mean", "std")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def normalised(self, index: Tensor | slice | None = None) -> Tensor:
        """Return ``(x / 255 - mean) / std`` of the chosen images, float32 ``(b, C, H, W)``; of all by default."""
        return self._normalise(self.seen(index))

    def seen(self, index: Tensor | slice | None = None) -> Tensor:
        """Return the pixels of the chosen images as a network sees them, uint8 ``(b, C, H, W)``; of all by default."""
        images = without_border(self.images, self.border) if self.border else self.images
        if isinstance(index, Tensor):
            return images[index.to(images.device)]
        return images if index is None else images[index]

    def _normalise(self, images: Tensor) -> Tensor:
        # With both constants times 255 one pass over the batch is saved; an epoch of MNIST takes 30 ms.
        shift, scale = (255 * value.view(-1, 1, 1) for value in (self.mean, self.std))
        return images.float().sub_(shift).div_(scale)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images and labels in order, without augmentation; the last batch may be smaller.

        Both are copies: a loss that writes over its targets leaves the split as it is.

        Raises:
            DataError: If the batch size is not positive.
        """
        _check_batch_size(batch_size)
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            yield self.normalised(part), self.labels[part].clone()

    def epoch(
        self, batch_size: int, *, seed: int, epoch: int, augment: Augmentation = "none"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all images once in random order: a pure function of the seed and the epoch, on any device.

        An image's place in the order and its augmentation do not depend on the batch size. The last batch may be
        smaller. Labels are int64 ``(b,)``; with ``mixup`` they are shares of the classes, float32 ``(b, classes)``.

        Args:
            batch_size: Images per batch.
            seed: Seed of order and augmentation.
            epoch: Number of the epoch, from 0.
            augment: Augmentation of the images.

        Raises:
            DataError: If the batch size is not positive, or a transform of the user's own fails.
        """
        _check_batch_size(batch_size)
        order = torch.randperm(len(self), generator=stream(seed, "order", epoch))
        return self._drawn(order, batch_size, augment, seed, (epoch,))

    def sample(
        self,
        batch_size: int,
        *,
        seed: int,
        index: tuple[int | str, ...],
        augment: Augmentation = "none",
        among: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return one random batch without repetition, named by a seed and an index.

        Args:
            batch_size: Images in the batch; all images, if there are fewer.
            seed: Seed of choice and augmentation.
            index: Name of the batch: equal names give equal batches.
            augment: Augmentation of the images.
            among: Positions ``(m,)`` of the images to draw from; all by default.

        Raises:
            DataError: If the batch size is not positive, or a transform of the user's own fails.
        """
        _check_batch_size(batch_size)
        count = len(self) if among is None else len(among)
        order = torch.randperm(count, generator=stream(seed, "order", *index))[:batch_size]
        order = order if among is None else among[order]
        return next(self._drawn(order, batch_size, augment, seed, index))

    def _drawn(
        self, order: Tensor, batch_size: int, augment: Augmentation, seed: int, index: tuple[int | str, ...]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        # Drawn and moved before the first batch: the steps of an epoch wait for no transfer.
        device, size = self.images.device, self.shape[1:]
        pipeline = draw_pipeline(len(order), augment, size, seed=seed, index=index, device=device, border=self.border)
        order = order.to(self.images.device)
        for start in range(0, len(order), batch_size):
            rows = slice(start, min(start + batch_size, len(order)))
            images, labels = self._augmented(order, rows, pipeline), self.labels.index_select(0, order[rows])
            yield (images, labels) if pipeline.mixture is None else self._mixed(order, rows, pipeline, images, labels)

    def _augmented(self, order: Tensor, rows: Rows, pipeline: Pipeline) -> Tensor:
        return self._normalise(pipeline.apply(self.images.index_select(0, order[rows]), rows))

    def _mixed(
        self, order: Tensor, rows: slice, pipeline: Pipeline, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        assert pipeline.mixture is not None
        weight, partners = pipeline.mixture.partners(rows)
        if pipeline.mixture.whole:  # they are in this batch, augmented already
            others, other_labels = (side.index_select(0, partners - rows.start) for side in (images, labels))
        else:
            others = self._augmented(order, partners, pipeline)
            other_labels = self.labels.index_select(0, order[partners])
        classes = self.classes or (self.labels.shape[1] if self.labels.ndim > 1 else int(self.labels.max()) + 1)
        return mixed_images(images, others, weight), mixed_labels(labels, other_labels, weight, classes)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise DataError(f"A batch has at least one image, received batch size {batch_size}.")


@dataclass(frozen=True)
class Dataset:
    """A data set cut into disjoint splits.

    Attributes:
        name: Name in the catalogue.
        train: Images to learn from.
        validation: Images by which models are chosen; part of the official training set.
        test: Images on which chosen models are reported; the official test set.
        classes: Name of each class.
        settings: The request this is the answer to.
        lossy: Whether the pixels are a lossy copy: JPEG files of images that were published without loss. Numbers on
            it are not those on the originals. False where JPEG is what was published, and for data of the user's own.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    settings: DataSettings
    lossy: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.train.shape

    def to(self, device: str | torch.device) -> Dataset:
        """Return the data set on a device."""
        return replace(
            self, train=self.train.to(device), validation=self.validation.to(device), test=self.test.to(device)
        )

    def indices(self) -> dict[str, Tensor]:
        """Return the official row of every image by split, on the CPU: what must be saved to know the split again."""
        return {
            "train": self.train.indices.cpu(),
            "validation": self.validation.indices.cpu(),
            "test": self.test.indices.cpu(),
        }

    def to_frame(self) -> pandas.DataFrame:
        """Return one row per image: its split, its row in the official file and its label, or a column per label."""
        import pandas

        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return pandas.concat(
            [
                pandas.DataFrame({"split": name, "row": split.indices.cpu(), **self._label_columns(split)})
                for name, split in splits.items()
            ],
            ignore_index=True,
        )

    def _label_columns(self, split: Split) -> dict[str, Tensor]:
        labels = split.labels.cpu()
        return {"label": labels} if labels.ndim == 1 else dict(zip(self.classes, labels.T, strict=True))
