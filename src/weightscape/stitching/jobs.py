"""Stitches that are to be made: where each one stands, what it needs of the networks, and how it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from weightscape.models.stitches import LowRankStitch, Stitch, make_stitch
from weightscape.seeds import seeded
from weightscape.stitching.features import Site, memory_limit
from weightscape.stitching.initialisation import begin, check_channels
from weightscape.stitching.learner import wanted_by
from weightscape.stitching.masks import check_permutable, make_mask, needs_moments
from weightscape.stitching.moments import check_memory, check_pixels
from weightscape.stitching.pair import Pair, Wanted
from weightscape.stitching.settings import Form, Resize, StitchSpec

if TYPE_CHECKING:
    from weightscape.similarity.moments import Moments


@dataclass
class Job:
    """A stitch that is to be made.

    Attributes:
        number: Its place among the stitches that were asked for.
        spec: Its settings.
        site: The layers it stands between.
        stitch: The stitch, on the CPU.
        mask: True where an entry of its matrix may differ from 0 ``(C2, C1)``; None where all may.
    """

    number: int
    spec: StitchSpec
    site: Site
    stitch: Stitch
    mask: Tensor | None = None

    @property
    def fits(self) -> bool:
        """Whether it begins at something estimated on data."""
        return _is_fitted(self.spec)

    @property
    def moments_key(self) -> tuple[Site, Form, Resize]:
        """What the moments that it begins with are of."""
        return self.site, self.spec.form, self.spec.resize

    @property
    def wanted(self) -> Wanted:
        """What its training needs of each batch."""
        return wanted_by(self.spec, self.site)

    @property
    def wanted_at_test(self) -> Wanted:
        """What its scores need of each batch."""
        return Wanted(front_layers=(self.site.front_layer,), sides=(self.site.back_layer,))

    def begin(self, moments: Moments | None) -> None:
        """Set mask and stitch to where they begin, in place.

        Args:
            moments: Of the two layers on the training split, where it begins at something estimated on data.

        Raises:
            ModelError: If the layers have no such mask or initialisation.
        """
        spec, stitch = self.spec, self.stitch
        if not isinstance(stitch, LowRankStitch):
            outputs, inputs = stitch.weight.shape
            self.mask = make_mask(spec.mask, outputs=outputs, inputs=inputs, moments=moments, seed=spec.seed)
        begin(stitch, spec.init, mask=self.mask, moments=moments, seed=spec.seed)


def make_job(number: int, spec: StitchSpec, pair: Pair) -> Job:
    """Return a stitch that has not begun.

    Raises:
        ModelError: If a layer does not exist, or the two layers cannot be stitched or fitted so.
    """
    site = Site(pair.front_layer(spec.front_layer), pair.back_layer(spec.entry))
    shapes = pair.front_shape(site.front_layer), pair.back_cut(site.back_layer).shape
    with seeded(spec.seed, "init", "stitch"):
        stitch = stitch_between(*shapes, spec=spec)
    job = Job(number, spec, site, stitch)
    if job.fits:
        check_memory(*shapes, form=spec.form, limit=memory_limit(pair.device))
    return job


def stitch_between(front: tuple[int, ...], back: tuple[int, ...], *, spec: StitchSpec) -> Stitch:
    """Return a stitch that has not begun, drawn from torch's global generator.

    Args:
        front: Shape of the front's activation, without the batch.
        back: Shape of the back's activation.
        spec: Its settings.

    Raises:
        ModelError: If activations of these shapes cannot be stitched or fitted so.
    """
    stitch = make_stitch(front, back, form=spec.form, rank=spec.rank, resize=spec.resize)
    if _is_fitted(spec):
        check_pixels(front, back, form=spec.form, resize=spec.resize)
    if not isinstance(stitch, LowRankStitch):
        outputs, inputs = stitch.weight.shape
        check_channels(spec.init, outputs=outputs, inputs=inputs)
        if spec.mask == "random-permutation":
            check_permutable(outputs, inputs)
    return stitch


def _is_fitted(spec: StitchSpec) -> bool:
    return spec.init == "ps_inv" or needs_moments(spec.mask)
