"""What a stitch is worth: its answers on the test split, and how like the back network's its activation is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weightscape.errors import Interrupted
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.probe import choose_probe
from weightscape.stitching.features import CachedFeatures, Site, Source
from weightscape.stitching.likeness import Likeness, difference, geometry_of, likeness_of, predictable, spread_of
from weightscape.stitching.pair import Features, Pair, Wanted, sides_of
from weightscape.stitching.scored import StitchScores
from weightscape.stitching.scores import check_reference, scores_of

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset


@dataclass(frozen=True)
class _Probed:
    """The two activations of one site on the probe images, and what every stitch there is compared by.

    Attributes:
        front: Activation of the front network.
        back: Activation of the back network.
        sides: What the back network needs besides its activation.
        front_geometry: Of the front's activation.
        back_geometry: Of the back's activation.
        spread: Sum of squares of the back's channels less their means.
    """

    front: Tensor
    back: Tensor
    sides: tuple[Tensor, ...]
    front_geometry: Geometry
    back_geometry: Geometry
    spread: float


class Assessor:
    """Scores the stitches of one pair; what does not depend on the stitch is computed once.

    Args:
        pair: The networks.
        dataset: Its test split is measured on.
        probe: Images of the test split on which activations are compared; all, if there are fewer.
        should_stop: Asked between batches.

    Raises:
        DataError: If outputs of the back network are NaN.
    """

    def __init__(self, pair: Pair, dataset: Dataset, *, probe: int, should_stop: Callable[[], bool]) -> None:
        self._pair, self._should_stop, self._lossy = pair, should_stop, dataset.lossy
        self._answers = CachedFeatures(pair, dataset.test, Wanted(front_logits=True, back_logits=True)).all()
        self._probe_split = choose_probe(dataset.test, images=min(probe, len(dataset.test))).split
        self.images = len(self._probe_split)
        self._probed: dict[Site, _Probed] = {}
        check_reference(self._answers["back_logits"])
        self._probe_answers: Features | None = None

    def scores(self, stitches: Sequence[nn.Module], site: Site, test: Source) -> list[StitchScores]:
        """Score stitches of one site on the whole test split.

        Raises:
            Interrupted: If the user asked to stop.
        """
        tail = self._pair.back_cut(site.back_layer).tail
        parts: list[list[Tensor]] = [[] for _ in stitches]
        with torch.no_grad():
            for features in test.in_order():
                if self._should_stop():
                    raise Interrupted("The evaluation of a stitch was stopped; the same command does it again.")
                sides = sides_of(features, site.back_layer)
                for stitch, logits in zip(stitches, parts, strict=True):
                    logits.append(tail(stitch(features[f"front/{site.front_layer}"]), *sides))
        return [self._scored(torch.cat(logits), self._answers) for logits in parts]

    def _scored(self, logits: Tensor, answers: Features) -> StitchScores:
        front, back = answers["front_logits"], answers["back_logits"]
        return scores_of(
            logits,
            answers["labels"],
            back=back,
            front=front if front.shape == back.shape else None,
            lossy=self._lossy,
        )

    def likeness(self, stitch: nn.Module, site: Site) -> Likeness:
        """Compare a stitch's output with the back network's activation on the probe images."""
        probed = self._on_probe(site)
        with torch.no_grad():
            found = stitch(probed.front)
        l2, r2 = None, None
        if found.shape == probed.back.shape:
            l2, r2 = difference(found, probed.back, probed.spread)
        return likeness_of(geometry_of(found), probed.back_geometry, l2=l2, r2=r2)

    def unstitched(self, site: Site) -> Likeness:
        """Compare the front network's activation with the back network's on the probe images."""
        probed = self._on_probe(site)
        return likeness_of(probed.front_geometry, probed.back_geometry)

    def along_training(self, stitch: nn.Module, site: Site) -> dict[str, float | None]:
        """Return what is measured on the probe images in the course of training."""
        probed = self._on_probe(site)
        with torch.no_grad():
            activation = stitch(probed.front)
            logits = self._pair.back_cut(site.back_layer).tail(activation, *probed.sides)
        if self._probe_answers is None:
            wanted = Wanted(front_logits=True, back_logits=True)
            self._probe_answers = CachedFeatures(self._pair, self._probe_split, wanted).all()
        scores = self._scored(logits, self._probe_answers)
        likeness = likeness_of(geometry_of(activation), probed.back_geometry)
        return {
            "cka": likeness.cka,
            "cka_debiased": likeness.cka_debiased,
            "linear_regression": predictable(activation, probed.back),
            "cross_entropy": scores.cross_entropy,
            "kl": scores.kl,
            "accuracy": scores.accuracy,
            "relative_accuracy": scores.relative_accuracy,
        }

    def _on_probe(self, site: Site) -> _Probed:
        if site not in self._probed:
            wanted = Wanted((site.front_layer,), (site.back_layer,), (site.back_layer,))
            features = CachedFeatures(self._pair, self._probe_split, wanted).all()
            front, back = features[f"front/{site.front_layer}"], features[f"back/{site.back_layer}"]
            sides = sides_of(features, site.back_layer)
            # Stitches come site by site: what was kept of others is not needed any more.
            self._probed = {
                site: _Probed(front, back, sides, geometry_of(front), geometry_of(back), spread_of(back)),
            }
        return self._probed[site]
