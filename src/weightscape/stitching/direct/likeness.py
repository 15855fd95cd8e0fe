"""CKA of what a stitch makes of the front's activations with the back's, for many stitches of one layer.

The Gram matrix of stitched activations depends on W through ``Wᵀ W`` alone, and on the bias not at all once it is
centred. A stitch of rank r therefore costs a product of r columns per pixel, and one that keeps all lengths nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weightscape.errors import DataError, Interrupted
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.memory import MEMORY_LIMIT, in_words
from weightscape.stitching.direct.settings import RowForm
from weightscape.stitching.direct.stitch import DirectStitch
from weightscape.stitching.direct.sums import site_moments
from weightscape.stitching.features import BATCH, Site
from weightscape.stitching.likeness import Likeness, likeness_of
from weightscape.stitching.pair import Pair, Wanted

if TYPE_CHECKING:
    from weightscape.data.dataset import Split

_COLUMNS = 8192
_EQUAL = 1e-9
_COPIES = 3


@dataclass(frozen=True)
class SiteLikeness:
    """How like the back's activation those are that can stand in for it, at one pair of layers.

    Attributes:
        unstitched: The front's activation as it is; its l2 and r2 are None.
        stitched: The front's activation after each stitch; r2 is None where the back's activation does not vary.
    """

    unstitched: Likeness
    stitched: tuple[Likeness, ...]


@torch.no_grad()
def compare_on(
    pair: Pair,
    probe: Split,
    stitches: Mapping[Site, Sequence[DirectStitch]],
    *,
    form: RowForm,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[Site, SiteLikeness]:
    """Compare the output of every stitch with the back network's own activation.

    Activations of one layer at a time are held in memory.

    Args:
        pair: The networks.
        probe: The images.
        stitches: The stitches of each pair of layers.
        form: Whether they act on the channels of each pixel, or on whole activations.
        should_stop: Asked before every batch.

    Raises:
        Interrupted: If `should_stop` said so.
    """
    moments = site_moments(pair, probe, stitches, form=form, should_stop=should_stop)
    backs = {
        layer: StitchedRows(_activation(pair, probe, Wanted(back_layers=(layer,)), should_stop), form).plain
        for layer in dict.fromkeys(site.back_layer for site in stitches)
    }
    found: dict[Site, SiteLikeness] = {}
    for layer in dict.fromkeys(site.front_layer for site in stitches):
        front = StitchedRows(_activation(pair, probe, Wanted(front_layers=(layer,)), should_stop), form)
        for site in (site for site in stitches if site.front_layer == layer):
            back, sums = backs[site.back_layer], moments[site]
            stitched = tuple(
                likeness_of(
                    front.stitched(stitch.weight), back, l2=stitch.mean_squared_error(sums), r2=stitch.explained(sums)
                )
                for stitch in stitches[site]
            )
            found[site] = SiteLikeness(likeness_of(front.plain, back), stitched)
    return found


def check_probe(shapes: Mapping[str, Sequence[int]], images: int, *, limit: int = MEMORY_LIMIT) -> None:
    """Check that the activations of each layer on the probe images fit into memory, before anything is computed.

    Args:
        shapes: Shape of the activation of one image, by layer.
        images: Number of probe images.
        limit: Bytes that one layer may take.

    Raises:
        DataError: If they do not.
    """
    for layer, shape in shapes.items():
        each = _COPIES * 4 * math.prod(shape)
        if each * images > limit:
            raise DataError(
                f"The activations of {layer}, of shape {tuple(shape)}, need {in_words(each * images)} of memory for "
                f"{images:,} probe images, more than {in_words(limit)}. Compare them on fewer: probe={limit // each}."
            )


def _activation(pair: Pair, split: Split, wanted: Wanted, should_stop: Callable[[], bool]) -> Tensor:
    """Return the one wanted activation of all images of a split ``(n, C, ...)``.

    Raises:
        Interrupted: If `should_stop` said so.
    """
    parts: list[Tensor] = []
    for images, _ in split.batches(BATCH):
        if should_stop():
            raise Interrupted("The comparison of activations was stopped; the same command makes it again.")
        parts.extend(pair.features(images, wanted).values())
    return torch.cat(parts)


class StitchedRows:
    """The front's activations on the probe images, from which the Gram matrix of any stitch of them is made.

    Args:
        activation: Of one layer ``(n, C1, ...)``.
        form: Whether stitches act on the channels of each pixel, or on whole activations.
    """

    def __init__(self, activation: Tensor, form: RowForm) -> None:
        rows = activation.flatten(1)[:, None] if form == "features" else _pixels(activation)
        self._rows = rows - rows.mean(0, dtype=torch.float64).to(rows.dtype)  # (n, pixels, C1), without the mean image
        self.plain = Geometry(gram=self._gram(None), width=self._rows[0].numel())

    def stitched(self, weight: Tensor) -> Geometry:
        """Return the geometry of the activations after a stitch with matrix `weight` ``(C2, C1)``."""
        _, scales, right = torch.linalg.svd(weight, full_matrices=False)
        largest = float(scales.max())
        square = weight.shape[1] == len(scales)
        if square and largest > 0 and float(scales.min()) > (1 - _EQUAL) * largest:
            return self.plain  # CKA knows no rotation and no scale
        kept = scales > _EQUAL * largest
        root = (scales[kept, None] * right[kept]).T
        width = weight.shape[0] * self._rows.shape[1]
        return Geometry(gram=self._gram(root.to(self._rows)), width=width)

    def _gram(self, root: Tensor | None) -> Tensor:
        """Return the Gram matrix ``(n, n)`` in double precision, added up over parts of the pixels."""
        count, pixels, channels = self._rows.shape
        found = torch.zeros(count, count, dtype=torch.float64, device=self._rows.device)
        step = max(1, _COLUMNS // channels)
        for start in range(0, pixels, step):
            part = self._rows[:, start : start + step]
            part = (part if root is None else part @ root).flatten(1)
            found += (part @ part.T).double()
        return found


def _pixels(activation: Tensor) -> Tensor:
    """Return ``(n, pixels, C)``."""
    return activation.flatten(2).transpose(1, 2).contiguous() if activation.ndim > 2 else activation[:, None]
