"""Any iterable of batches, and how a model turns a batch into outputs and a loss.

Functions of the library take what a training loop already has: a ``DataLoader``, a list, a split of a data set, or a
function that makes a generator; batches that are tensors, tuples or dictionaries. They pass it through
:func:`as_batches`, and need to know no more about batches than this::

    given = as_batches(batches, forward=forward, loss=loss, passes="many").to(device)
    for batch in given:
        outputs = given.outputs(model, batch)
        total += given.loss(outputs, batch, reduction="sum")
        count += batch.count
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from weightscape.batch_forms import Batch as Batch
from weightscape.batch_forms import arguments_of, as_batch, moved, output_tensor
from weightscape.errors import DataError
from weightscape.repeatable import Cuttable, check_equal_passes, iterator_factory

Forward: TypeAlias = Callable[[nn.Module, Any], Any]
"""Takes the model and a whole batch, on the model's device, and returns the outputs."""
Loss: TypeAlias = Callable[[Any, Any], Tensor]
"""Takes outputs and targets and returns the mean over the samples, or one value per sample ``(n,)``."""
Passes: TypeAlias = Literal["one", "many", "equal"]

_NO_LABELS = (
    "expected batches with labels for the cross-entropy, such as (inputs, labels) or {'image': ..., 'label': ...}; "
    "give such batches, or loss=function of (outputs, targets)."
)


class Batches:
    """Batches that can be iterated over, and the rules by which a model uses them; made by :func:`as_batches`."""

    def __init__(
        self,
        source: Any,
        make: Callable[[], Iterator[Any]],
        forward: Forward | None,
        loss: Loss | None,
        *,
        device: Any = None,
    ) -> None:
        self.source = source
        self._make = make
        self._forward = forward
        self._loss = loss
        self._device = device
        self._layout = torch.preserve_format
        self._found_any = False

    def to(self, device: str | torch.device, layout: torch.memory_format = torch.preserve_format) -> Batches:
        """Return the same batches, moved to a device as they are read; images ``(n, c, h, w)`` in a memory layout."""
        elsewhere = Batches(self.source, self._make, self._forward, self._loss, device=device)
        elsewhere._layout = layout
        return elsewhere

    def __iter__(self) -> Iterator[Batch]:
        count = 0
        for count, content in enumerate(self._make(), start=1):  # noqa: B007 (the last value is used)
            yield as_batch(moved(content, self._device, self._layout))
        if self._found_any and not count:
            raise DataError(
                "The batches could be read only once: a second pass found none. Give a list, a DataLoader, or the "
                "function that makes the generator, without calling it."
            )
        self._found_any = count > 0

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return what a model answers to a batch: its output, or the ``logits`` or the first tensor of it.

        Without ``forward``, the model is called with the batch itself, the first part of a tuple, or the entries of a
        dictionary that are not targets: by name where its ``forward`` has parameters of these names, else the one entry
        that is there or is called ``image``, ``inputs``, ``x``, ...

        Raises:
            DataError: If it is not clear what the model takes, or it returns no tensor.
        """
        return output_tensor(self.run(model, batch))

    def run(self, model: nn.Module, batch: Batch) -> Any:
        """Call a model on a batch, as :meth:`outputs` does, and return whatever it returns.

        Raises:
            DataError: If it is not clear what the model takes.
        """
        if self._forward is not None:
            return self._forward(model, batch.content)
        positional, named = arguments_of(model, batch.content)
        return model(*positional, **named)

    def loss(self, outputs: Tensor, batch: Batch, *, reduction: Literal["mean", "sum"] = "mean") -> Tensor:
        """Return the loss of outputs, a differentiable scalar: the mean or the sum over the samples of the batch.

        Without ``loss`` it is the cross-entropy in nats.

        Raises:
            DataError: If there is no ``loss`` and the batch has no labels, or `loss` returns no scalar and no vector of
                one value per sample.
        """
        if self._loss is None:
            if not batch.labelled:
                raise DataError(f"The batches hold inputs alone: {_NO_LABELS}")
            return _cross_entropy(outputs, batch, reduction)
        value = self._loss(outputs, batch.targets)
        if not isinstance(value, Tensor) or value.shape not in {(), (batch.count,)}:
            received = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise DataError(f"Expected from loss a scalar or ({batch.count},) values, received {received}.")
        if reduction == "mean":
            return value.mean()
        return value.sum() if value.ndim else value * batch.count

    @property
    def default_loss(self) -> bool:
        """Whether the loss is the cross-entropy."""
        return self._loss is None


BatchSource: TypeAlias = Iterable[Any] | Callable[[], Iterable[Any]] | Cuttable | Batches
"""What :func:`as_batches` takes."""


def as_batches(
    batches: BatchSource,
    *,
    forward: Forward | None = None,
    loss: Loss | None = None,
    passes: Passes = "one",
    batch_size: int = 512,
) -> Batches:
    """Return batches in the one form that functions of this package use.

    Args:
        batches: An iterable of batches (tensors, tuples, dictionaries), a function without arguments that makes one, a
            split of a data set, or what this function returned.
        forward: ``forward(model, batch)`` returns the outputs; by default see :meth:`Batches.outputs`.
        loss: ``loss(outputs, targets)``; the cross-entropy by default.
        passes: How they will be read: ``one`` time, ``many`` times, or many times that must give ``equal`` batches in
            equal order, as where two networks are compared sample by sample. The first two batches are then read
            twice, unless they lie in memory.
        batch_size: Samples per batch of a split; the others come in batches already.

    Raises:
        DataError: If these are no batches, they can be read only once but are needed again, or they are shuffled where
            the order matters.
    """
    if isinstance(batches, Batches):
        forward, loss, batches = forward or batches._forward, loss or batches._loss, batches.source
    _refuse_what_is_no_batches(batches)
    make, in_memory = iterator_factory(batches, once=passes == "one", batch_size=batch_size)
    if passes == "equal" and not in_memory:
        check_equal_passes(batches, make)
    return Batches(batches, make, forward, loss)


def first_inputs(model: nn.Module, batches: BatchSource) -> tuple[Tensor, ...]:
    """Return the inputs of the first batch, as the model takes them by position.

    Raises:
        DataError: If there is no batch, or the model takes its inputs by name.
    """
    first = next(iter(as_batches(batches)), None)
    if first is None:
        raise DataError("Expected at least one batch, received none.")
    positional, named = arguments_of(model, first.content)
    return (*positional, *named.values())


def _refuse_what_is_no_batches(batches: Any) -> None:
    pair = isinstance(batches, tuple | list) and len(batches) == 2 and all(isinstance(one, Tensor) for one in batches)
    if isinstance(batches, Tensor):
        raise DataError("Expected batches, received one tensor. Write [inputs] if it is one batch.")
    if pair and len(batches[0]) == len(batches[1]) and batches[0].ndim > 1 and batches[1].ndim == 1:
        raise DataError("Expected batches, received a pair of tensors. Write [(inputs, labels)] if it is one batch.")
    if isinstance(batches, Mapping):
        raise DataError("Expected batches, received a dictionary. Write [batch] if it is one batch.")
    if isinstance(batches, Dataset):
        raise DataError("Expected batches, received a data set of samples. Write DataLoader(dataset, batch_size=128).")
    if not isinstance(batches, Iterable | Cuttable) and not callable(batches):
        kind, split = type(batches).__name__, " Take one of its splits, such as data.test." * hasattr(batches, "test")
        raise DataError(f"Expected batches (a list, a DataLoader, a split, ...), received {kind}.{split}")


def _cross_entropy(outputs: Tensor, batch: Batch, reduction: Literal["mean", "sum"]) -> Tensor:
    targets = batch.targets
    if not isinstance(targets, Tensor) or not (targets.is_floating_point() or targets.ndim == outputs.ndim - 1):
        shape = tuple(targets.shape) if isinstance(targets, Tensor) else type(targets).__name__
        raise DataError(
            f"Outputs of shape {tuple(outputs.shape)} and targets of shape {shape} do not fit: {_NO_LABELS}"
        )
    targets = targets.to(outputs.device) if targets.is_floating_point() else targets.to(outputs.device, torch.int64)
    return functional.cross_entropy(outputs, targets, reduction=reduction)
