"""Arrays of the user's own: which of them are images and labels, and whether they are fit to learn from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weightscape.errors import DataError

_NAMES = {
    "train_images": ("train_images", "x_train"),
    "train_labels": ("train_labels", "y_train"),
    "test_images": ("test_images", "x_test"),
    "test_labels": ("test_labels", "y_test"),
    "images": ("images", "x"),
    "labels": ("labels", "y"),
}


def named_arrays(name: str, found: Any) -> dict[str, Any]:
    """Return by name the arrays that a function returned.

    Raises:
        DataError: If it returned neither a dictionary nor two or four arrays.
    """
    if isinstance(found, dict):
        return found
    if isinstance(found, tuple) and len(found) in {2, 4}:
        keys = ("images", "labels") if len(found) == 2 else tuple(_NAMES)[:4]
        return dict(zip(keys, found, strict=True))
    raise DataError(
        f"{name} should return a dictionary of arrays, (images, labels), or (train_images, train_labels, test_images, "
        f"test_labels); it returned {type(found).__name__}."
    )


def labelled_images(where: str, held: dict[str, Any]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return images ``(n, c, h, w)`` and classes ``(n,)`` of the parts ``train`` and ``test``, or of ``all``.

    Args:
        where: What messages say holds the arrays.
        held: Arrays by name.

    Raises:
        DataError: If arrays are missing, or are not images and classes of them.
    """
    known = {key: next((held[each] for each in names if each in held), None) for key, names in _NAMES.items()}
    sets = {part: _pair(where, known, prefix) for part, prefix in (("train", "train_"), ("test", "test_"), ("all", ""))}
    pairs = {part: pair for part, pair in sets.items() if pair is not None}
    if set(pairs) not in ({"train", "test"}, {"all"}):
        raise DataError(
            f"{where}: expected the arrays train_images, train_labels, test_images and test_labels, or images and "
            f"labels, received {', '.join(map(str, held)) or 'none'}."
        )
    return pairs


def _pair(where: str, known: dict[str, Any], prefix: str) -> tuple[Tensor, Tensor] | None:
    images, labels = known[f"{prefix}images"], known[f"{prefix}labels"]
    if images is None or labels is None:
        return None
    pixels, classes = _pixels(where, f"{prefix}images", images), _classes(where, f"{prefix}labels", labels)
    if len(pixels) != len(classes):
        raise DataError(f"{where} holds {len(pixels)} {prefix}images, but {len(classes)} {prefix}labels.")
    return pixels, classes


def _pixels(where: str, name: str, value: Any) -> Tensor:
    images = torch.as_tensor(value)
    if images.ndim == 3:
        images = images.unsqueeze(1)
    if images.dtype != torch.uint8 or images.ndim != 4 or not images.numel():
        raise DataError(
            f"{where}: expected {name} as bytes (uint8, 0 to 255) of shape (n, H, W), (n, H, W, C) or (n, C, H, W), "
            f"received {images.dtype} of shape {tuple(images.shape)}. Other inputs than images are not supported."
        )
    first, last = images.shape[1] in {1, 3}, images.shape[3] in {1, 3}
    if not first and not last:
        raise DataError(f"{where}: expected {name} with 1 or 3 channels, received shape {tuple(images.shape)}.")
    return (images if first else images.permute(0, 3, 1, 2)).contiguous()


def _classes(where: str, name: str, value: Any) -> Tensor:
    labels = torch.as_tensor(value)
    if labels.ndim > 1 and labels.numel() == max(labels.shape):
        labels = labels.reshape(-1)  # a row or a column; labels of one image stay (1,)
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex() or not len(labels) or labels.min() < 0:
        raise DataError(
            f"{where}: expected {name} as whole numbers from 0 of shape (n,), received {labels.dtype} of shape "
            f"{tuple(labels.shape)}."
        )
    return labels.long()
