"""What direct matching of two networks returns. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from weightscape.results import PlottedResult
from weightscape.stitching.scored import StitchScores

if TYPE_CHECKING:
    from weightscape.results import Table

_ACCURACIES = ("accuracy", "accuracy_stderr", "loss", "front_accuracy", "back_accuracy")
COLUMNS = (
    *("front_layer", "back_layer", "depth", "back_depth", "method", "rank", "penalty", "sparsity"),
    *("r2", "train_r2", "cka", "cka_debiased", "cka_unstitched", "l2"),
    *dict.fromkeys([*_ACCURACIES, *(entry.name for entry in fields(StitchScores))]),
    "reason",
)
"""The columns of :attr:`DirectMatching.matches`."""
_STEPS = ("identity", "permutation", "orthogonal", "least-squares")
"""Classes of which each contains the one before."""


@dataclass(frozen=True, repr=False)
class DirectMatching(PlottedResult):
    """Two networks stitched by direct matching, at many layers and in many classes of maps.

    The table ``matches`` has one row per pair of layers and stitch: ``front_layer``, ``back_layer`` and their places in
    the networks (``depth``, ``back_depth``, from 0, in order of execution); ``method``, ``rank`` and ``penalty``; the
    share of zeros in the matrix (``sparsity``); on the probe images of the test split how like the back's activation
    the matched one is: ``r2`` (share of the variance explained; 1 - r2 is unexplained), ``l2`` (mean squared
    difference), linear CKA of images (``cka``, ``cka_debiased``; ``cka_unstitched`` is that of the front's activation
    as it is); ``train_r2`` on the images it was fitted to; and on the whole test split the scores of the stitched
    network (:class:`~weightscape.stitching.scored.StitchScores`). Where two layers have no such map there is the
    ``reason`` and no number.

    Attributes:
        matches: The table.
        pairs: Pairs of layers.
        stitches: Stitches that were fitted and scored.
        front_accuracy: Accuracy of the front network on the test split.
        back_accuracy: Accuracy of the back network on the test split.
        train_images: Images that stitches were fitted to.
        probe_images: Test images on which activations are compared.
        count: Test images on which networks are scored.
        lossy_images: Whether the images are a lossy copy of the ones in the literature.
        fitted: The stitches (:class:`~weightscape.stitching.direct.stitch.DirectStitch`) by front layer and back layer,
            in the order of the table; in the library alone.
    """

    matches: Table
    pairs: int
    stitches: int
    front_accuracy: float | None
    back_accuracy: float
    train_images: int
    probe_images: int
    count: int
    lossy_images: bool
    fitted: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict, repr=False, compare=False)

    def figure(self) -> tuple[str, dict[str, Table], dict[str, Any]]:
        """Return the figure: a matrix of all pairs of layers, or by layer what wider classes of maps explain."""
        found = self.matches[self.matches["reason"] == ""]
        present = list(dict.fromkeys(found["method"]))
        tables = {"table": self.matches}
        if (self.matches["front_layer"] != self.matches["back_layer"]).any():
            return "stitch-matrix", tables, {"methods": [_STEPS[-1]] if _STEPS[-1] in present else present}
        steps = [method for method in _STEPS if method in present]
        if len(steps) > 1:
            return "difference-budget", tables, {"steps": steps}
        return "stitch-matching", tables, {"methods": present}


def matches_table(rows: list[dict[str, Any]]) -> Table:
    """Return the table of rows that may lack columns."""
    import pandas

    table = pandas.DataFrame(rows, columns=list(COLUMNS))
    counts = ("rank", "both_right", "only_stitched_right", "only_back_right", "both_wrong", "count")
    floats = [
        name
        for name in COLUMNS
        if name not in {*counts, "front_layer", "back_layer", "depth", "back_depth", "method", "reason", "lossy_images"}
    ]
    return table.astype(
        {
            **dict.fromkeys(counts, "Int64"),
            **dict.fromkeys(floats, float),
            **dict.fromkeys(("depth", "back_depth"), int),
            "lossy_images": bool,
            "reason": str,
        }
    )
