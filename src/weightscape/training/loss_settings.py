"""What is minimised. Loads no torch."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag

from weightscape.training.settings import OWN, OwnFunction, Settings, from_name, tag_among


class CrossEntropy(Settings):
    """Cross-entropy of the softmax, to classes or to soft labels (mixup).

    Attributes:
        label_smoothing: Share of each label that is spread evenly over all classes during training (arXiv 1512.00567).
            Evaluations are not smoothed.
    """

    name: Literal["cross-entropy"]
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class BinaryCrossEntropy(Settings):
    """One yes or no for each output, mean over outputs: several labels per image, or one class against the rest."""

    name: Literal["binary-cross-entropy"]


class OwnLoss(OwnFunction):
    """A function of your own: ``loss(logits, targets, **arguments)``, differentiable.

    It returns one number per image ``(b,)``, of which the mean is taken, or one number for the whole batch. Targets are
    as the data has them: classes ``(b,)`` int64, soft or several labels ``(b, k)`` float.
    """


_NAMES = ("cross-entropy", "binary-cross-entropy")
Loss: TypeAlias = Annotated[
    Annotated[
        Annotated[CrossEntropy, Tag("cross-entropy")]
        | Annotated[BinaryCrossEntropy, Tag("binary-cross-entropy")]
        | Annotated[OwnLoss, Tag(OWN)],
        Discriminator(tag_among(_NAMES)),
    ],
    BeforeValidator(from_name),
]
