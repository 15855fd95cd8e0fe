"""Direct matching of two networks at many layers: fitted on training images, scored on test images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn

from weightscape.errors import DataError
from weightscape.similarity.probe import choose_probe
from weightscape.stitching.direct.answers import Answers, answers_of
from weightscape.stitching.direct.fitting import Fitted, Unfitted, fit_stitches
from weightscape.stitching.direct.likeness import SiteLikeness, check_probe, compare_on
from weightscape.stitching.direct.result import DirectMatching, matches_table
from weightscape.stitching.direct.settings import METHODS, RANKS, Method, RowForm
from weightscape.stitching.direct.sites import Match, find_matches
from weightscape.stitching.direct.stitch import DirectStitch
from weightscape.stitching.direct.sums import site_moments
from weightscape.stitching.features import Site
from weightscape.stitching.pair import Pair
from weightscape.stitching.scores import scores_of

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset

OnProgress: TypeAlias = Callable[[float, str], None]
Stitches: TypeAlias = dict[Site, list[DirectStitch]]


def stitch_directly(
    front: nn.Module,
    back: nn.Module,
    dataset: Dataset,
    layers: str | Sequence[str],
    back_layers: str | Sequence[str] | None = None,
    *,
    methods: Sequence[Method] = METHODS,
    ranks: Sequence[int] = RANKS,
    ridge: Sequence[float] = (),
    l1: int | Sequence[float] = 8,
    form: RowForm = "pixels",
    images: int | None = None,
    probe: int = 1000,
    compat: bool = False,
    seed: int = 0,
    device: str | torch.device = "cpu",
    on_progress: OnProgress = lambda share, text: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> DirectMatching:
    """Stitch two networks by direct matching (arXiv 2110.14633, section 3) at many layers, in many classes of maps.

    Stitches are fitted to moments of training images, all layers in one joint pass, and scored on test images: each
    network runs once over them, and the back network's tail once for each stitch.

    Args:
        front: The network that stitches begin with; never changed.
        back: The network that goes on after them; never changed.
        dataset: Stitches are fitted to its training split, without augmentation, and scored on its test split.
        layers: Names or patterns (``bn*``) of layers of the front network.
        back_layers: The same of the back network: every pair of layers is matched. By default each layer is matched
            with the one of the same name.
        methods: Classes of maps.
        ranks: Ranks of ``reduced-rank``.
        ridge: Penalties of ``ridge``.
        l1: Penalties of ``sparse``, or how many to spread between nothing and least squares.
        form: Whether a stitch acts on the channels of each pixel, or on whole activations (for small layers).
        images: Random training images to fit to; all by default.
        probe: Random test images on which activations are compared; all, if there are fewer.
        compat: ``reduced-rank`` as in the published code, without centring and bias.
        seed: Draws the training images.
        device: Where to compute.
        on_progress: Called with the share done and a text.
        should_stop: Asked between batches.

    Raises:
        ModelError: If a layer does not exist, or named layers, or all layers, cannot be matched.
        DataError: If there are too few images, or no method is possible at any pair of layers.
        Interrupted: If `should_stop` said so.
    """
    train = dataset.train if images is None else choose_probe(dataset.train, images=images, seed=seed).split
    probed = choose_probe(dataset.test, images=min(probe, len(dataset.test))).split
    example = dataset.test.normalised(slice(0, 2))
    pair = Pair(front, back, example=example, device=device)
    matches = find_matches(pair.front, pair.back, layers, back_layers, example=example.to(pair.device), form=form)
    sites = [match.site for match in matches if not match.obstacle]
    check_probe({layer.name: layer.shape for match in matches for layer in (match.front, match.back)}, len(probed))
    on_progress(0.0, "fitting")
    fitted = {
        site: fit_stitches(moments, methods, ranks=ranks, ridge_penalties=ridge, l1=l1, compat=compat)
        for site, moments in site_moments(pair, train, sites, form=form, should_stop=should_stop).items()
    }
    stitches = _possible(fitted)
    on_progress(0.3, "test images")
    answers = answers_of(
        pair,
        dataset.test,
        stitches,
        form=form,
        progress=lambda share: on_progress(0.3 + 0.4 * share, "test images"),
        should_stop=should_stop,
    )
    on_progress(0.7, "comparing activations")
    alike = compare_on(pair, probed, stitches, form=form, should_stop=should_stop)
    rows = [row for match in matches for row in _rows(match, methods, fitted, answers, alike, lossy=dataset.lossy)]
    whole = scores_of(answers.back, answers.labels, back=answers.back, front=answers.front)
    return DirectMatching(
        matches=matches_table(rows),
        pairs=len(matches),
        stitches=sum(map(len, stitches.values())),
        front_accuracy=whole.front_accuracy,
        back_accuracy=whole.back_accuracy,
        train_images=len(train),
        probe_images=len(probed),
        count=whole.count,
        lossy_images=dataset.lossy,
        fitted={(site.front_layer, site.back_layer): tuple(found) for site, found in stitches.items()},
    )


def _possible(fitted: Mapping[Site, Sequence[Fitted]]) -> Stitches:
    stitches = {site: [one for one in found if isinstance(one, DirectStitch)] for site, found in fitted.items()}
    if not any(stitches.values()):
        reasons = [one.reason for found in fitted.values() for one in found if isinstance(one, Unfitted)]
        raise DataError(reasons[0] if reasons else "Expected at least one method of direct matching, received none.")
    return stitches


def _rows(
    match: Match,
    methods: Sequence[Method],
    fitted: Mapping[Site, Sequence[Fitted]],
    answers: Answers,
    alike: Mapping[Site, SiteLikeness],
    *,
    lossy: bool,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one pair of layers: what was measured of each stitch, or why there is none."""
    place = {
        "front_layer": match.front.name,
        "back_layer": match.back.name,
        "depth": match.front.depth,
        "back_depth": match.back.depth,
        "lossy_images": lossy,
        "reason": match.obstacle,
    }
    if match.obstacle:
        yield from ({**place, "method": method} for method in methods)
        return
    found = alike[match.site]
    measured = zip(answers.stitched[match.site], found.stitched, strict=True)
    for one in fitted[match.site]:
        if isinstance(one, Unfitted):
            yield {**place, "method": one.method, "rank": one.rank, "reason": one.reason}
            continue
        logits, likeness = next(measured)
        scores = scores_of(logits, answers.labels, back=answers.back, front=answers.front, lossy=lossy)
        yield {
            **place,
            **_described(one),
            **vars(likeness),
            "cka_unstitched": found.unstitched.cka,
            **vars(scores),
        }


def _described(stitch: DirectStitch) -> dict[str, Any]:
    return {
        "method": stitch.method,
        "rank": stitch.rank,
        "penalty": stitch.penalty,
        "sparsity": stitch.sparsity,
        "train_r2": stitch.r2,
    }
