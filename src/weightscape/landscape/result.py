"""What the comparison of two networks returns. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weightscape.results import PlottedResult

if TYPE_CHECKING:
    from weightscape.results import Table
    from weightscape.symmetry.permutation import Permutation

LINE_COLUMNS = (
    "path",
    "alpha",
    "loss",
    "loss_stderr",
    "accuracy",
    "accuracy_stderr",
    "loss_excess",
    "loss_excess_stderr",
    "error_excess",
    "error_excess_stderr",
    "count",
)
"""The columns of :attr:`Barrier.line`."""


@dataclass(frozen=True, repr=False)
class Barrier(PlottedResult):
    """Loss and error along the straight line between two networks, and the height of the barrier.

    Where an alignment π was given, there are two lines: ``direct`` from `a` to `b`, and ``aligned`` from ``π a`` to
    `b`; the numbers without a prefix belong to the aligned one. Losses are means over the samples, errors shares in
    [0, 1]. The definitions of height are those of :mod:`weightscape.landscape.heights`.

    The table ``line`` has one row per line and point: ``path``, ``alpha`` (0 is the first network), ``loss`` and
    ``accuracy`` with their standard errors, the height above the line between the ends of loss and error
    (``loss_excess``, ``error_excess``) with their paired standard errors, and the ``count`` of samples. The table
    ``heights`` has one row per line and measure, with the fields of :class:`~weightscape.landscape.heights.Height`.

    Attributes:
        line: Every point.
        heights: Every height.
        loss_barrier: Largest height of the loss above the line between its ends. The maximum over the points is biased
            upwards; ``crossfit`` in `heights` is not.
        loss_barrier_stderr: Its standard error, paired over the samples; of these two networks, not of other seeds.
        loss_barrier_position: Where it is.
        error_barrier: The same of the error; None where the targets are no classes.
        error_barrier_stderr: Its standard error.
        error_barrier_position: Where it is.
        direct_loss_barrier: Of the line without alignment; None where no alignment was given.
        direct_error_barrier: Of the line without alignment.
        given_start_loss: Loss of `a` as it was given, with its own running statistics.
        given_end_loss: Loss of `b` as it was given.
        distance: Euclidean distance of the parameters at the ends.
        direct_distance: The same without alignment; None where no alignment was given.
        count: Samples measured on.
        points: Points on each line, the ends included.
        bn: Batch-norm policy, the same at every point, the ends included.
        recalibrated_on: What running statistics were computed on: ``evaluated`` batches or ``other`` batches; ``kept``
            where those of the nearer end were taken, ``nothing`` where the network has none.
    """

    line: Table
    heights: Table
    loss_barrier: float
    loss_barrier_stderr: float
    loss_barrier_position: float
    error_barrier: float | None
    error_barrier_stderr: float | None
    error_barrier_position: float | None
    direct_loss_barrier: float | None
    direct_error_barrier: float | None
    given_start_loss: float
    given_end_loss: float
    distance: float
    direct_distance: float | None
    count: int
    points: int
    bn: str
    recalibrated_on: str

    def __repr__(self) -> str:
        return "\n".join(sentences(self))

    def figure(self) -> tuple[str, dict[str, Table], dict[str, Any]]:
        """Return the name of the figure of this result, its tables and its options."""
        return "barrier", {"table": self.line}, {"note": policy_note(self.recalibrated_on)}


def policy_note(recalibrated_on: str, *, other: str = "other images than measured on") -> str:
    """Return in words what became of running statistics; empty for a network without them.

    Args:
        recalibrated_on: As in :class:`Barrier`.
        other: What ``other`` images are.
    """
    if recalibrated_on == "kept":
        return "Running statistics of batch norms: those of the nearer end."
    source = {"evaluated": "the images measured on", "other": other}.get(recalibrated_on)
    return f"Running statistics of batch norms: computed anew at every point, on {source}." if source else ""


def sentences(found: Barrier) -> list[str]:
    """Return the heights of a barrier in words, a line each."""
    loss = _height("Loss", found.loss_barrier, found.loss_barrier_stderr, found.loss_barrier_position, 1)
    lines = [loss + _before(found.direct_loss_barrier, 1)]
    if found.error_barrier is not None:
        numbers = found.error_barrier, found.error_barrier_stderr or 0.0, found.error_barrier_position or 0.0
        lines.append(_height("Error", *numbers, 100) + _before(found.direct_error_barrier, 100))
    return [*lines, f"Measured on {found.count:,} samples at {found.points} points of the line"]


def _height(measure: str, height: float, stderr: float, position: float, scale: float) -> str:
    if height == 0:
        return f"{measure} barrier 0: no point lies above the line between the ends"
    unit = "" if scale == 1 else " points"
    return f"{measure} barrier {scale * height:.3g} +- {scale * stderr:.2g}{unit}, highest at {position:.3g}"


def _before(height: float | None, scale: float) -> str:
    return "" if height is None else f"; before alignment {scale * height:.3g}"


@dataclass(frozen=True, repr=False)
class Diagnosis(PlottedResult):
    """Two trained networks side by side.

    Accuracies and errors are shares in [0, 1]. Definitions: heights :mod:`weightscape.landscape.heights`, alignment
    :class:`~weightscape.symmetry.alignment.Alignment`, mistakes
    :class:`~weightscape.similarity.mistakes.SharedMistakes`.

    Attributes:
        permutation: Acts on the source: ``π source`` is near the target.
        line: Every point of the direct and the aligned line, see :class:`Barrier`.
        heights: Every height, by line and measure.
        groups: What the alignment did to each permutation group.
        mistakes: Images by what the first (source) and the second (target) network do.
        source_loss: Of the source as it was given.
        source_accuracy: Of the source as it was given.
        target_loss: Of the target as it was given.
        target_accuracy: Of the target as it was given.
        loss_barrier: After alignment, above the line between the ends.
        loss_barrier_stderr: Standard error of the sampling of images.
        error_barrier: After alignment.
        error_barrier_stderr: Standard error of the sampling of images.
        direct_loss_barrier: Without alignment.
        direct_error_barrier: Without alignment.
        moved: Share of units that the alignment moves.
        cosine: Cosine of all parameters after alignment.
        cosine_before: The same without alignment.
        agreement: Share of images with the same prediction.
        both_wrong: Images that both misclassify.
        both_wrong_expected: Expected number if mistakes were independent.
        both_wrong_low: Lower end of its central 95 %.
        both_wrong_high: Upper end of its central 95 %.
        jaccard: Shared mistakes over mistakes of either.
        jaccard_expected: The same if mistakes were independent.
        kappa: Error consistency, 0 for independent mistakes.
        kappa_low: Lower end of its 95 % interval.
        kappa_high: Upper end of its 95 % interval.
        same_wrong_class: Share of the shared mistakes with the same wrong class.
        count: Images measured on.
        recalibrated_on: What running statistics were computed on: ``other`` images (of the training split); ``kept``
            where those of the nearer end were taken, ``nothing`` where the networks have none.
        measured_on: The split.
    """

    permutation: Permutation
    line: Table
    heights: Table
    groups: Table
    mistakes: Table
    source_loss: float
    source_accuracy: float
    target_loss: float
    target_accuracy: float
    loss_barrier: float
    loss_barrier_stderr: float
    error_barrier: float | None
    error_barrier_stderr: float | None
    direct_loss_barrier: float | None
    direct_error_barrier: float | None
    moved: float
    cosine: float
    cosine_before: float
    agreement: float
    both_wrong: int
    both_wrong_expected: float
    both_wrong_low: int
    both_wrong_high: int
    jaccard: float | None
    jaccard_expected: float | None
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    same_wrong_class: float | None
    count: int
    recalibrated_on: str
    measured_on: str

    def figure(self) -> tuple[str, dict[str, Table], dict[str, Any]]:
        """Return the name of the figure of this result, its tables and its options."""
        return "barrier", {"table": self.line}, {"note": policy_note(self.recalibrated_on, other="training images")}
