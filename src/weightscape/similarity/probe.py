"""The fixed images on which representations are taken, and the fingerprint by which two sets are told apart.

Gram matrices of two networks can be combined only if their rows are the same images in the same order. Everything that
is stored therefore carries the fingerprint of its probe set, and what has another one is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor

from weightscape.batch_forms import TARGET_NAMES
from weightscape.errors import DataError
from weightscape.seeds import stream

if TYPE_CHECKING:
    from weightscape.data.dataset import Split

Choice: TypeAlias = Literal["random", "first"]
_DIGEST_BYTES = 16


@dataclass(frozen=True)
class Probe:
    """Images of a split in a fixed order.

    Attributes:
        split: The chosen images; its ``indices`` say which they are.
        fingerprint: Hash of the pixels, their order and their normalisation; the same on every device.
    """

    split: Split
    fingerprint: str

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images and labels in their order; the last batch may be smaller."""
        return self.split.batches(batch_size)


def choose_probe(split: Split, *, images: int, seed: int = 0, choice: Choice = "random") -> Probe:
    """Choose the images of a split that all networks are shown.

    Args:
        split: The images to choose from.
        images: How many.
        seed: Draws the images. Equal seeds choose equal images of a split, in the order of the split.
        choice: Images at ``random``, or the ``first`` ones of the split.

    Raises:
        DataError: If the split has fewer images.
    """
    if not 0 < images <= len(split):
        raise DataError(
            f"Expected a probe set of 1 to {len(split):,} images, all that the split has, received {images:,}. "
            "Ask for fewer images, or take another split."
        )
    if choice == "first":
        rows = torch.arange(images)
    else:
        rows = torch.randperm(len(split), generator=stream(seed, "subset", "probe"))[:images].sort().values
    rows = rows.to(split.images.device)
    part = replace(split, images=split.images[rows], labels=split.labels[rows], indices=split.indices[rows])
    return Probe(part, _fingerprint_of_split(part))


def check_same_probe(first: str, second: str, *, names: tuple[str, str] = ("first", "second")) -> None:
    """Check that two representations were taken on the same images.

    Raises:
        DataError: If their fingerprints differ.
    """
    if first != second:
        raise DataError(
            f"The {names[0]} representation was taken on other images than the {names[1]}: their probe sets have the "
            f"fingerprints {first[:12]} and {second[:12]}. Their rows are not the same samples, so they cannot be "
            "compared. Represent both on the same images: same data, split, number of images and seed."
        )


class InputHash:
    """Hash of the inputs of batches, added one batch after the other; how they are cut into batches makes no odds."""

    def __init__(self) -> None:
        self._hashes: dict[str, Any] = {}
        self._count = 0

    def add(self, content: Any) -> None:
        """Add a batch in the form in which it came; labels and other targets are left out."""
        for name, tensor in _inputs(content):
            if name not in self._hashes:
                self._hashes[name] = hashlib.blake2b(f"{tensor.dtype} {tuple(tensor.shape[1:])}".encode())
            self._hashes[name].update(_bytes(tensor))

    @property
    def fingerprint(self) -> str:
        """The hash of all that was added."""
        parts = [f"{name} {found.hexdigest()}" for name, found in sorted(self._hashes.items())]
        return hashlib.blake2b("\n".join(parts).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def fingerprint_of(contents: Iterable[Any]) -> str:
    """Return the fingerprint of the inputs of batches, in their order."""
    found = InputHash()
    for content in contents:
        found.add(content)
    return found.fingerprint


def _inputs(content: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a batch that are shown to a network, with a name each."""
    if isinstance(content, Mapping):
        for name, member in content.items():
            if name not in TARGET_NAMES:
                yield from ((f"{name}.{inner}", tensor) for inner, tensor in _inputs(member))
    elif isinstance(content, tuple | list):
        yield from _inputs(content[0])
    elif isinstance(content, Tensor) or hasattr(content, "__array__"):
        yield "", torch.as_tensor(content)


def _bytes(tensor: Tensor) -> bytes:
    # NumPy has no bfloat16; the bits are what is hashed
    return tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()


def _fingerprint_of_split(split: Split) -> str:
    found = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for tensor in (split.mean, split.std, split.images):
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(_bytes(tensor))
    return found.hexdigest()
