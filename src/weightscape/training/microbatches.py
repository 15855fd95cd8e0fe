"""The gradient of one batch, all at once or in parts when memory does not suffice.

The loss is a mean over images, so that its gradient is the mean of the gradients of the parts, weighted by their sizes:
the same up to rounding. Two things are not: batch norm in training mode, which mixes the images of a forward pass, so
that splitting is refused; and the noise of dropout, which is drawn anew for each part, with the same distribution.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor, nn

from weightscape.errors import TrainingError
from weightscape.training.losses import Criterion

_LOG = logging.getLogger(__name__)
_CPU_OUT_OF_MEMORY = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory")


@dataclass(frozen=True)
class Outcome:
    """What a batch gave besides its gradient.

    Attributes:
        loss: Mean loss over the batch, a scalar.
        hits: Right answers, a scalar.
    """

    loss: Tensor
    hits: Tensor


class BatchGradient:
    """Computes gradients of the mean loss over batches, in as few parts as memory allows.

    Args:
        model: In training mode; gradients are added to its parameters.
        criterion: The loss.
        largest: Images in a part, at most; a whole batch by default.
        save_noise: Returns a function that puts the noise of the model back to where it is now.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        *,
        largest: int | None = None,
        save_noise: Callable[[], Callable[[], None]],
    ) -> None:
        self._model = model
        self._criterion = criterion
        self._largest = largest
        self._save_noise = save_noise
        self.parts = 1
        """Into how many parts batches are divided since memory did not suffice for fewer."""

    def __call__(self, images: Tensor, targets: Tensor) -> Outcome:
        """Add the gradient of the mean loss to the parameters' gradients, which are empty.

        Args:
            images: Batch ``(b, ...)`` on the device of the model.
            targets: Classes ``(b,)`` or floats ``(b, k)``.

        Raises:
            TrainingError: If memory does not suffice and the batch cannot be divided.
        """
        restore_noise = self._save_noise()
        while True:
            failure = self._attempt(images, targets)
            if isinstance(failure, Outcome):
                return failure
            # Here, not in the handler: the exception holds on to the tensors that did not fit.
            self._model.zero_grad(set_to_none=True)
            if images.device.type == "cuda":
                torch.cuda.empty_cache()
            self._divide(len(images), failure)
            restore_noise()

    def _attempt(self, images: Tensor, targets: Tensor) -> Outcome | str:
        """Return what the batch gave, or the message when memory did not suffice.

        Raises:
            RuntimeError: If something else is wrong.
        """
        try:
            return self._accumulate(images, targets)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return str(error)

    def _accumulate(self, images: Tensor, targets: Tensor) -> Outcome:
        count = len(images)
        size = -(-count // self.parts) if self._largest is None else min(self._largest, -(-count // self.parts))
        if size >= count:
            logits = self._model(images)
            loss = self._criterion.training_loss(logits, targets)
            loss.backward()  # type: ignore[no-untyped-call]
            return Outcome(loss.detach(), self._criterion.hits(logits.detach(), targets).sum())
        outcomes = []
        for part, labels in zip(torch.split(images, size), torch.split(targets, size), strict=True):
            logits = self._model(part)
            loss = self._criterion.training_loss(logits, labels) * (len(part) / count)
            if self.parts > 1 and not self._criterion.is_separable:  # seen only now, with the first loss of all
                self._refuse_inseparable(f"Memory does not suffice for a step with {count} images")
            loss.backward()  # type: ignore[no-untyped-call]
            outcomes.append(Outcome(loss.detach(), self._criterion.hits(logits.detach(), labels).sum()))
            del logits, loss
        return Outcome(
            torch.stack([outcome.loss for outcome in outcomes]).sum(),
            torch.stack([outcome.hits for outcome in outcomes]).sum(),
        )

    def _divide(self, count: int, failure: str) -> None:
        """Double the number of parts.

        Raises:
            TrainingError: If that would not be the same mathematics, or the parts are single images already.
        """
        refusal = f"Memory does not suffice for a step with {count} images ({failure.splitlines()[0][:150]})"
        mixing = mixing_layers(self._model)
        if mixing:
            raise TrainingError(
                f"{refusal}, and it cannot be taken in parts: batch norm ({', '.join(mixing[:3])}) normalises with the "
                "statistics of the images of a forward pass, so that smaller parts would be another training. Use a "
                "smaller 'batch_size', or set 'micro_batch' in the recipe if that other training is what you want."
            )
        if not self._criterion.is_separable:
            self._refuse_inseparable(refusal)
        if self.parts >= count:
            raise TrainingError(f"{refusal}, not even one by one. Use a smaller model or a machine with more memory.")
        self.parts *= 2
        _LOG.warning("Memory does not suffice for %d images at once; steps are taken in %d parts.", count, self.parts)

    @staticmethod
    def _refuse_inseparable(refusal: str) -> NoReturn:
        raise TrainingError(
            f"{refusal}, and it cannot be taken in parts: the loss returns one number for a batch, which may be more "
            "than a mean over its images. Return one number per image, or use a smaller 'batch_size'."
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error says that memory, of a GPU or of the machine, did not suffice."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(mark in str(error) for mark in _CPU_OUT_OF_MEMORY)


def mixing_layers(model: nn.Module) -> list[str]:
    """Return the names of the batch norms that use the statistics of the batch as the model is now."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or not module.track_running_stats)
    ]
