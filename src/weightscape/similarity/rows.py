"""The forms in which an activation is a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.settings import Form


def as_rows(activation: Tensor, form: Form) -> Tensor:
    """Return an activation ``(n, C, ...)`` as a matrix; one without pixels ``(n, d)`` is the same in every form.

    Args:
        activation: The activation; its layout in memory does not matter.
        form: ``pixels``: every pixel is a row ``(n * H * W, C)``, those of an image one after the other. ``features``:
            every image is one ``(n, C * H * W)``, in the order channels, height, width. ``pooled``: the mean over the
            map ``(n, C)``.

    Raises:
        DataError: If the activation is no batch of vectors or maps, or there is no such form.
    """
    if activation.ndim < 2:
        raise DataError(f"Expected activations (n, d) or (n, C, H, W), received shape {tuple(activation.shape)}.")
    if activation.ndim == 2:
        return activation
    if form == "pixels":
        return activation.movedim(1, -1).reshape(-1, activation.shape[1])
    if form == "features":
        return activation.flatten(1)
    if form == "pooled":
        return activation.flatten(2).mean(dim=2)
    raise DataError(f"Expected the form pixels, features or pooled, received {form!r}.")


def width_of(shape: Sequence[int], form: str) -> int:
    """Return the units of a row of an activation of that shape (without the batch).

    >>> width_of((16, 8, 8), "features"), width_of((16, 8, 8), "pooled"), width_of((10,), "features")
    (1024, 16, 10)
    """
    return prod(shape) if form == "features" else shape[0]
