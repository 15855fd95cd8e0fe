"""What is minimised, and which share of the answers is right.

Targets are classes ``(b,)`` int64, or floats ``(b, k)``: soft labels (the shares of k classes, as mixup makes them) for
the cross-entropy, one yes (1) or no (0) per output for the binary cross-entropy.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from weightscape.errors import DataError, TrainingError, did_you_mean
from weightscape.source import import_dotted
from weightscape.training.loss_settings import BinaryCrossEntropy, CrossEntropy, Loss, OwnLoss


class Criterion:
    """The loss of a recipe, for training and for evaluation.

    Args:
        settings: Which loss.

    Raises:
        ModelError: If a function of the user's own cannot be imported.
        TrainingError: If it takes no such argument.
    """

    def __init__(self, settings: Loss) -> None:
        self._settings = settings
        self._own: Callable[..., Any] | None = None
        self.is_separable = True
        """Whether the loss of a batch is surely a mean over its images, as far as seen."""
        if isinstance(settings, OwnLoss):
            self._own = functools.partial(_found(settings), **settings.arguments)

    def training_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss over a batch, a scalar to differentiate.

        Args:
            logits: Outputs of the model ``(b, k)``.
            targets: Classes ``(b,)`` int64 or floats ``(b, k)``.

        Raises:
            TrainingError: If a loss of the user's own returns something else than one number, or one per image.
        """
        if isinstance(self._settings, CrossEntropy):
            smoothing = self._settings.label_smoothing
            return functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        values = self._measure(logits, targets) if self._own is None else self._own_values(logits, targets)
        return values.mean()

    def evaluation_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the losses of a batch, a scalar; labels are not smoothed.

        Raises:
            TrainingError: If a loss of the user's own returns something else than one number, or one per image.
        """
        if isinstance(self._settings, CrossEntropy):
            return functional.cross_entropy(logits, targets, reduction="sum")
        if self._own is None:
            return self._measure(logits, targets).sum()
        return self._own_values(logits, targets).mean() * len(logits)

    def hits(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return how right each answer is ``(b,)``, in [0, 1].

        For classes 1 or 0; for soft labels the share of the class that was chosen; for several labels the share of
        outputs on the right side of 0.
        """
        if not targets.is_floating_point():
            return logits.argmax(1) == targets
        if isinstance(self._settings, BinaryCrossEntropy):
            return torch.where(logits > 0, targets, 1 - targets).mean(1)
        return targets.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)

    def _measure(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross-entropy of each image ``(b,)``."""
        if not targets.is_floating_point():
            targets = functional.one_hot(targets, logits.shape[1]).to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)

    def _own_values(self, logits: Tensor, targets: Tensor) -> Tensor:
        assert self._own is not None
        values = self._own(logits, targets.clone())  # it may write over them; they are those of the data set
        if isinstance(values, Tensor) and values.shape in {(), (len(logits),)}:
            self.is_separable = values.ndim == 1
            return values
        received = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise TrainingError(
            f"The loss {self._settings.name} should return one number, or one per image ({len(logits)},), as a tensor; "
            f"it returned {received}."
        )


def criterion_for(labels: Tensor) -> Criterion:
    """Return how to measure without a recipe: cross-entropy for classes, binary cross-entropy for several labels."""
    if labels.is_floating_point():
        return Criterion(BinaryCrossEntropy(name="binary-cross-entropy"))
    return Criterion(CrossEntropy(name="cross-entropy"))


def check_logits(logits: Tensor, labels: Any) -> None:
    """Check that a model has an output for every label of a batch.

    Args:
        logits: Outputs of the model.
        labels: Labels of the batch: classes ``(b,)``, or several labels or soft labels ``(b, k)``; others pass.

    Raises:
        DataError: If it has not.
    """
    if not isinstance(labels, Tensor) or not len(labels) or labels.ndim != 1 + labels.is_floating_point():
        return
    if labels.is_floating_point():
        expected, reason = labels.shape[1], f"there are {labels.shape[1]} labels per image"
        fits = logits.shape == labels.shape
    else:
        expected = int(labels.max()) + 1
        reason = f"the largest label is {expected - 1}"
        fits = logits.ndim == 2 and logits.shape[1] >= expected
    if not fits:
        raise DataError(
            f"Expected logits (n, {expected}){'' if labels.is_floating_point() else ' or wider'}, since {reason}; the "
            f"model yields {tuple(logits.shape)}. Build the model with the data set's number of classes."
        )


def check_labels(labels: Tensor, loss: Loss) -> None:
    """Check that the labels of a training split suit a loss, before anything is computed.

    Raises:
        DataError: If images have several labels each, for which the cross-entropy of a softmax has no meaning.
    """
    if not isinstance(loss, CrossEntropy) or not labels.is_floating_point():
        return
    if not torch.allclose(labels.sum(1), torch.ones(len(labels), dtype=labels.dtype, device=labels.device), atol=1e-4):
        raise DataError(
            "Expected classes, or soft labels that sum to 1, for the loss 'cross-entropy'; received several labels per "
            "image. Write 'loss: binary-cross-entropy' in the recipe."
        )


def _found(settings: OwnLoss) -> Callable[..., Any]:
    function: Any = import_dotted(settings.name)
    if not callable(function):
        raise TrainingError(f"The loss {settings.name} should be a function, it is {function!r}.")
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some functions written in C have no signature
        return function  # type: ignore[no-any-return]
    named = [parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY][2:]
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        for argument in settings.arguments.keys() - set(named):
            raise TrainingError(
                f"The loss {settings.name} takes no argument {argument!r}. {did_you_mean(argument, named)}"
            )
    return function  # type: ignore[no-any-return]
