"""What is found between two stitches. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weightscape.results import Result

if TYPE_CHECKING:
    from weightscape.results import Table

LINE_COLUMNS = (
    "alpha",
    "loss",
    "accuracy",
    "accuracy_stderr",
    "relative_accuracy",
    "cross_entropy",
    "kl",
    "agreement",
)


@dataclass(frozen=True, repr=False)
class StitchLine(Result):
    """The straight line ``(1 - alpha) W1 + alpha W2`` from one stitch to another, matrices and biases alike.

    The table ``line`` has a row per point: ``alpha``, and the scores of
    :class:`~weightscape.stitching.scored.StitchScores`; those against the back network are missing without it.

    Attributes:
        line: The points, from ``alpha`` 0 to 1.
        loss_barrier: Largest height of the loss above the straight line between its ends; 0 if none is above.
        loss_barrier_alpha: Where; 0 if there is none.
        lowest_accuracy: Of all points.
        lowest_relative_accuracy: Of all points, over that of the back network; None without it.
        first_accuracy: At alpha 0.
        second_accuracy: At alpha 1.
        distance: ``|W1 - W2| / sqrt(|W1| |W2|)`` in Frobenius norms.
        cosine: Cosine of the two matrices.
        points: Number of points.
        count: Images measured on.
        lossy_images: Whether the images are a lossy copy of the ones in the literature.
    """

    line: Table
    loss_barrier: float
    loss_barrier_alpha: float
    lowest_accuracy: float
    lowest_relative_accuracy: float | None
    first_accuracy: float
    second_accuracy: float
    distance: float | None
    cosine: float | None
    points: int
    count: int
    lossy_images: bool
