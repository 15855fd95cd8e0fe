"""Joint moments of the two layers of each site, on the training split: what least squares and masks are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING

from torch import Tensor

from weightscape.errors import Interrupted, ModelError
from weightscape.models.stitches import resized
from weightscape.similarity.moments import Moments, StreamedMoments
from weightscape.stitching.features import BATCH, Site
from weightscape.stitching.pair import Pair, Wanted
from weightscape.stitching.settings import Form, Resize

if TYPE_CHECKING:
    from weightscape.data.dataset import Split

_COPIES = 3
"""Sums so far, those of a batch, and the merged ones, all of both layers together."""


def fit_moments(
    pair: Pair,
    split: Split,
    sites: Sequence[tuple[Site, Form, Resize]],
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[tuple[Site, Form, Resize], Moments]:
    """Return the moments of every site from one joint pass of the two networks over a split, without augmentation.

    Args:
        pair: The networks.
        split: The training split.
        sites: Layers, with the form of the stitch (a flat one has whole activations as rows, others pixels) and what
            becomes of maps of another size.
        should_stop: Asked before every batch.

    Raises:
        Interrupted: If `should_stop` said so.
    """
    if not sites:
        return {}
    wanted = Wanted(
        front_layers=tuple(dict.fromkeys(site.front_layer for site, *_ in sites)),
        back_layers=tuple(dict.fromkeys(site.back_layer for site, *_ in sites)),
    )
    sums = {key: StreamedMoments() for key in sites}
    for images, _ in split.batches(BATCH):
        if should_stop():
            raise Interrupted("Fitting stitches was stopped; the same command begins it again.")
        features = pair.features(images, wanted)
        for key, streamed in sums.items():
            site, form, resize = key
            first, second = features[f"front/{site.front_layer}"], features[f"back/{site.back_layer}"]
            streamed.add(*_rows(first, second, form, resize))
    return {key: _on_cpu(streamed.result()) for key, streamed in sums.items()}


def _on_cpu(moments: Moments) -> Moments:
    sums = (moments.first_mean, moments.second_mean, moments.first, moments.second, moments.cross)
    return Moments(moments.count, *(one.cpu() for one in sums))


def _rows(first: Tensor, second: Tensor, form: Form, resize: Resize) -> tuple[Tensor, Tensor]:
    if form == "flat":
        return first.flatten(1), second.flatten(1)
    if resize == "bilinear" and first.shape[2:] != second.shape[2:]:
        first = resized(first, tuple(second.shape[2:]))
    return first, second


def check_memory(front: Sequence[int], back: Sequence[int], *, form: Form, limit: int) -> None:
    """Check that the sums of products of whole activations fit into memory.

    Args:
        front: Shape of the front's activation, without the batch.
        back: Shape of the back's activation.
        form: Form of the stitch.
        limit: Bytes that may be taken.

    Raises:
        ModelError: If they do not.
    """
    units = prod(front) + prod(back)
    needed = _COPIES * 8 * units**2
    if form == "flat" and needed > limit:
        raise ModelError(
            f"Least squares and masks of a flat stitch between activations of shapes {tuple(front)} and {tuple(back)} "
            f"take about {needed / 2**30:.1f} GiB, more than the {limit / 2**30:.1f} GiB at hand. Take the "
            "initialisation 'random' without a mask, smaller layers, or a stitch that is not flat."
        )


def check_pixels(front: Sequence[int], back: Sequence[int], *, form: Form, resize: Resize) -> None:
    """Check that the pixels of two layers correspond, so that something can be fitted.

    Args:
        front: Shape of the front's activation, without the batch.
        back: Shape of the back's activation.
        form: Form of the stitch.
        resize: What becomes of maps of another size.

    Raises:
        ModelError: If they do not.
    """
    if form != "flat" and resize != "bilinear" and tuple(front[1:]) != tuple(back[1:]):
        raise ModelError(
            f"Least squares and masks compare maps pixel by pixel, but the front's activation has shape "
            f"{tuple(front)} and the back's {tuple(back)}. Take resize 'bilinear', or the initialisation 'random' "
            "without a mask."
        )
