"""Moments of pairs of layers, from one joint pass over a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from weightscape.stitching.direct.settings import RowForm
from weightscape.stitching.features import Site
from weightscape.stitching.moments import fit_moments
from weightscape.stitching.pair import Pair
from weightscape.stitching.settings import Form as StitchForm
from weightscape.stitching.settings import Resize

if TYPE_CHECKING:
    from weightscape.data.dataset import Split
    from weightscape.similarity.moments import Moments


def site_moments(
    pair: Pair, split: Split, sites: Iterable[Site], *, form: RowForm, should_stop: Callable[[], bool]
) -> dict[Site, Moments]:
    """Return the moments of pairs of layers.

    Args:
        pair: The networks; each runs once over the split.
        split: The images, not augmented.
        sites: The pairs of layers.
        form: Whether rows are pixels, or whole activations.
        should_stop: Asked before every batch.

    Raises:
        Interrupted: If `should_stop` said so.
    """
    flat = form == "features"
    keys: dict[Site, tuple[Site, StitchForm, Resize]] = {
        site: (site, "flat" if flat else "affine", "refuse") for site in sites
    }
    found = fit_moments(pair, split, list(keys.values()), should_stop=should_stop)
    return {site: found[key] for site, key in keys.items()}
