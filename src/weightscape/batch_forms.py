"""The form of a batch: a tensor, a tuple, a dictionary; which part of it are inputs and which targets."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weightscape.errors import DataError

INPUT_NAMES = ("inputs", "input", "images", "image", "pixel_values", "x", "features", "data")
TARGET_NAMES = ("labels", "label", "targets", "target", "y", "classes")


@dataclass(frozen=True)
class Batch:
    """One batch, on the device it was asked for.

    Attributes:
        content: The batch in the form in which it came.
        targets: The second part of a tuple, or the entry ``labels``, ``label``, ``targets``, ``target``, ``y`` or
            ``classes`` of a dictionary; the whole batch where there is none, as for an autoencoder.
        labelled: Whether such a part or entry was there.
        count: Number of samples, the length of the first tensor.
    """

    content: Any
    targets: Any
    labelled: bool
    count: int

    def to(self, device: str | torch.device | None) -> Batch:
        """Return the batch on a device; as it is for None."""
        return self if device is None else as_batch(moved(self.content, device, torch.preserve_format))


def arguments_of(model: nn.Module, content: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and the named arguments with which a model is called on a batch.

    Raises:
        DataError: If it is not clear what the model takes.
    """
    if isinstance(content, tuple | list):
        return (content[0],), {}
    if not isinstance(content, Mapping):
        return (content,), {}
    inputs = {name: value for name, value in content.items() if name not in TARGET_NAMES}
    if len(inputs) == 1:
        return tuple(inputs.values()), {}
    accepted = inspect.signature(model.forward).parameters
    named = {name: value for name, value in inputs.items() if name in accepted}
    if named:
        return (), named
    known = [name for name in INPUT_NAMES if name in inputs]
    if len(known) != 1:
        raise DataError(
            f"It is not clear which of the entries {', '.join(map(repr, content))} the model takes. "
            "Say it: forward=lambda model, batch: model(batch['...'])."
        )
    return (inputs[known[0]],), {}


def as_batch(content: Any) -> Batch:
    """Return a batch with its targets told apart."""
    targets, labelled = content, False
    if isinstance(content, tuple | list):
        labelled = len(content) > 1
        targets = content[1] if labelled else content[0]
    elif isinstance(content, Mapping):
        found = [name for name in TARGET_NAMES if name in content]
        labelled = bool(found)
        targets = content[found[0]] if found else content
    return Batch(content, targets, labelled, _count(content))


def _count(content: Any) -> int:
    first = next((leaf for leaf in _leaves(content) if leaf.ndim), None)
    if first is None:
        raise DataError(f"Expected a batch of tensors, received {type(content).__name__} without any.")
    return len(first)


def _leaves(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Mapping):
        for member in content.values():
            yield from _leaves(member)
    elif isinstance(content, tuple | list):
        for member in content:
            yield from _leaves(member)


def moved(content: Any, device: Any, layout: torch.memory_format) -> Any:
    """Return the content of a batch on a device, images in a memory layout; NumPy arrays become tensors."""
    if hasattr(content, "__array__") and not isinstance(content, Tensor):
        content = torch.as_tensor(content)
    if isinstance(content, Tensor):
        kind = layout if content.ndim == 4 else torch.preserve_format
        return content.to(device if device is not None else content.device, memory_format=kind, non_blocking=True)
    if isinstance(content, Mapping):
        return {name: moved(member, device, layout) for name, member in content.items()}
    if isinstance(content, tuple | list):
        members = [moved(member, device, layout) for member in content]
        return type(content)(*members) if hasattr(content, "_fields") else tuple(members)
    return content.to(device) if device is not None and callable(getattr(content, "to", None)) else content


def output_tensor(outputs: Any) -> Tensor:
    """Return the tensor in what a model returns: itself, its ``logits``, or its first part.

    Raises:
        DataError: If there is none.
    """
    if isinstance(outputs, Mapping) and "logits" in outputs:
        outputs = outputs["logits"]
    elif not isinstance(outputs, Tensor) and isinstance(getattr(outputs, "logits", None), Tensor):
        outputs = outputs.logits
    elif isinstance(outputs, tuple | list) and outputs:
        outputs = outputs[0]
    if not isinstance(outputs, Tensor):
        raise DataError(
            f"Expected a tensor from the model, or something with 'logits', received {type(outputs).__name__}. "
            "Say which part is meant: forward=lambda model, batch: model(batch[0])[...]."
        )
    return outputs
