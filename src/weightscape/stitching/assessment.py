"""What a stitch is worth: its answers on the test split, and how like the back network's its activation is."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weightscape.errors import DataError, Interrupted
from weightscape.models.stitches import AffineStitch, LowRankStitch, Stitch, matrix_of
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.measure import find_measure
from weightscape.similarity.moments import StreamedMoments
from weightscape.similarity.probe import choose_probe
from weightscape.stitching.features import CachedFeatures, Site, Source
from weightscape.stitching.pair import Features, Pair, Wanted, sides_of
from weightscape.stitching.scored import StitchScores
from weightscape.stitching.scores import scores_of
from weightscape.weights.algebra import precise_dtype

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset

SMALL = 1e-4
"""Entries below this count as 0 in a sparsity, as in the published code."""


@dataclass(frozen=True)
class Likeness:
    """How like the back network's activation another one is, on the probe images.

    Attributes:
        cka: Linear CKA of images by features, the biased estimator; None where an activation does not vary.
        cka_debiased: The same with the unbiased estimator; None with fewer than 4 images too.
        l2: Mean squared difference of all entries; None for another size.
        r2: Share of the variance of the back's channels over images and pixels; None for another size.
    """

    cka: float | None
    cka_debiased: float | None
    l2: float | None = None
    r2: float | None = None


class Assessor:
    """Scores the stitches of one pair; what does not depend on the stitch is computed once.

    Args:
        pair: The networks.
        dataset: Its test split is measured on.
        probe: Images of the test split on which activations are compared; all, if there are fewer.
        should_stop: Asked between batches.
    """

    def __init__(self, pair: Pair, dataset: Dataset, *, probe: int, should_stop: Callable[[], bool]) -> None:
        self._pair, self._should_stop, self._lossy = pair, should_stop, dataset.lossy
        self._answers = CachedFeatures(pair, dataset.test, Wanted(front_logits=True, back_logits=True)).all()
        self._probe_split = choose_probe(dataset.test, images=min(probe, len(dataset.test))).split
        self.images = len(self._probe_split)
        self._probe: dict[Site, Features] = {}
        self._geometries: dict[Site, tuple[Geometry, Geometry]] = {}
        self._spreads: dict[Site, float] = {}
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
        features = self._on_probe(site)
        with torch.no_grad():
            found = stitch(features[f"front/{site.front_layer}"])
        target = features[f"back/{site.back_layer}"]
        likeness = _alike(_geometry(found), self._geometries[site][1])
        if found.shape != target.shape:
            return likeness
        return Likeness(likeness.cka, likeness.cka_debiased, *_difference(found, target, self._spreads[site]))

    def unstitched(self, site: Site) -> Likeness:
        """Compare the front network's activation with the back network's on the probe images."""
        self._on_probe(site)
        return _alike(*self._geometries[site])

    def along_training(self, stitch: nn.Module, site: Site) -> dict[str, float | None]:
        """Return what is measured on the probe images in the course of training."""
        features = self._on_probe(site)
        tail = self._pair.back_cut(site.back_layer).tail
        with torch.no_grad():
            activation = stitch(features[f"front/{site.front_layer}"])
            logits = tail(activation, *sides_of(features, site.back_layer))
        if self._probe_answers is None:
            wanted = Wanted(front_logits=True, back_logits=True)
            self._probe_answers = CachedFeatures(self._pair, self._probe_split, wanted).all()
        scores = self._scored(logits, self._probe_answers)
        target = features[f"back/{site.back_layer}"]
        found = _alike(_geometry(activation), self._geometries[site][1])
        return {
            "cka": found.cka,
            "cka_debiased": found.cka_debiased,
            "linear_regression": _predictable(activation, target),
            "cross_entropy": scores.cross_entropy,
            "kl": scores.kl,
            "accuracy": scores.accuracy,
            "relative_accuracy": scores.relative_accuracy,
        }

    def _on_probe(self, site: Site) -> Features:
        if site not in self._probe:
            wanted = Wanted((site.front_layer,), (site.back_layer,), (site.back_layer,))
            features = CachedFeatures(self._pair, self._probe_split, wanted).all()
            sides = (f"front/{site.front_layer}", f"back/{site.back_layer}")
            one, other = (_geometry(features[name]) for name in sides)
            # Stitches come site by site: what was kept of others is not needed any more.
            self._probe, self._geometries = {site: features}, {site: (one, other)}
            self._spreads = {site: _spread(features[sides[1]])}
        return self._probe[site]


def _geometry(activation: Tensor) -> Geometry:
    """Return the geometry of images by features, from the inner products of centred rows in the type of these.

    Half as much work as in double precision; centred before, they lose nothing that the measures show.
    """
    # In the order in which they lie in memory: inner products do not depend on it, and a copy is saved.
    rows = (activation.movedim(1, -1) if activation.ndim > 2 else activation).flatten(1)
    rows = rows - rows.mean(0)
    return Geometry(gram=rows @ rows.T, width=rows.shape[1])


def _alike(first: Geometry, second: Geometry) -> Likeness:
    return Likeness(measured("linear-cka", first, second), measured("linear-cka-debiased", first, second))


def measured(name: str, first: Geometry, second: Geometry) -> float | None:
    """Return a measure, None where it has no value: a constant activation, too few images."""
    try:
        return find_measure(name).from_grams(first, second)
    except DataError:
        return None


def _difference(found: Tensor, target: Tensor, spread: float) -> tuple[float, float | None]:
    """Return the mean squared difference, and the share of the variance of the channels that is explained."""
    error = _total((found - target).square_())
    return error / target.numel(), 1 - error / spread if spread > 0 else None


def _spread(target: Tensor) -> float:
    """Return the sum of squares of channels less their means."""
    axes = [axis for axis in range(target.ndim) if axis != 1]
    mean = target.mean(axes, keepdim=True, dtype=precise_dtype(target.device)).to(target.dtype)
    return _total((target - mean).square_())


def _total(values: Tensor) -> float:
    return float(values.sum(dtype=precise_dtype(values.device)))


def _predictable(found: Tensor, target: Tensor) -> float | None:
    """Return the share of a stitch's output that is linear in the back's activation, channel by channel."""
    if found.shape != target.shape:
        return None
    sums = StreamedMoments()
    sums.add(target, found)
    try:
        value = find_measure("linear-regression").from_moments(sums.result())
    except DataError:
        return None
    return value if math.isfinite(value) else None


def sparsity(stitch: Stitch) -> float:
    """Return the share of the entries of a stitch's matrix that are smaller than 1e-4."""
    return float((matrix_of(stitch).abs() < SMALL).double().mean())


def without_small_entries(stitch: Stitch, threshold: float) -> Stitch:
    """Return a copy of a stitch in which entries of the matrix below a threshold in absolute value are 0.

    A stitch of low rank becomes one of full form: its factors have no such entries.
    """
    changed = as_full(stitch)
    with torch.no_grad():
        matrix = matrix_of(changed)
        matrix[matrix.abs() < threshold] = 0.0
    return changed


def as_full(stitch: Stitch) -> Stitch:
    """Return a copy of a stitch that has a matrix of its own: of one of low rank, the product of its factors."""
    if not isinstance(stitch, LowRankStitch):
        return copy.deepcopy(stitch)
    matrix = matrix_of(stitch)
    full = AffineStitch(matrix.shape[1], matrix.shape[0], size=stitch.size).to(matrix.device)
    with torch.no_grad():
        full.weight.copy_(matrix)
        full.bias.copy_(stitch.bias)
    return full
