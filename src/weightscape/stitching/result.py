"""What the task-loss training of a stitch returns. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weightscape.results import PlottedResult
from weightscape.stitching.scored import StitchScores

if TYPE_CHECKING:
    from weightscape.results import Table
    from weightscape.weights.algebra import Weights

INITIAL = ("accuracy", "loss", "relative_accuracy", "cross_entropy", "kl", "agreement")
"""Scores that a result has of the beginning too."""
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "epochs": ("epoch", "lr", "loss", "target_loss", "penalty", "batch_cka"),
    "iterations": (
        "iteration",
        "cka",
        "cka_debiased",
        "linear_regression",
        "cross_entropy",
        "kl",
        "accuracy",
        "relative_accuracy",
    ),
    "thresholds": (
        "threshold",
        "sparsity",
        "accuracy",
        "accuracy_stderr",
        "relative_accuracy",
        "cross_entropy",
        "kl",
        "agreement",
        "loss",
    ),
    "matrix": ("stage", "row", "column", "value"),
    "biases": ("stage", "row", "value"),
    "singular_values": ("stage", "index", "value"),
}
_WHOLE = ("epoch", "iteration", "row", "column", "index")


@dataclass(frozen=True, repr=False, kw_only=True)
class StitchResult(PlottedResult, StitchScores):
    """A stitch trained on the task loss (arXiv 2110.14633), before and after.

    It has the scores of the trained stitch on the whole test split as
    :class:`~weightscape.stitching.scored.StitchScores` describes them, and the likeness of activations (``cka``,
    ``cka_debiased``, ``l2``, ``r2``) on probe images of it. What begins with ``initial_`` is of the stitch before
    training: with the initialisation ``ps_inv``, of direct matching by least squares.

    Tables:

    - ``epochs``: ``epoch`` (1 is the first), ``lr`` of its first step, and means over its steps, each at the stitch
      that the step began with: ``loss`` is what was minimised, ``target_loss`` the part about answers, ``penalty`` the
      rest, ``batch_cka`` the CKA of the batches where the loss has one.
    - ``iterations``: measured on the probe images after so many steps, if asked for. ``linear_regression`` is the share
      of the variance of the stitch's output, over images and pixels, that is linear in the back's activation.
    - ``thresholds``: entries of the matrix that are smaller in absolute value set to 0, on the test split; threshold 0
      is the stitch as it is. ``sparsity`` is the share of entries that are 0 then.
    - ``matrix``: ``row`` (channel of the back network), ``column`` (of the front network), ``value``, at the ``stage``
      initial or final. Empty for flat stitches, whose matrices are too large for a table; `network` holds them.
    - ``biases`` and ``singular_values`` (descending): of both stages.

    Attributes:
        network: State dict of the stitched network, with the trained stitch.
        epochs: The course of training.
        iterations: The course of training in steps; empty unless asked for.
        thresholds: What small entries are worth.
        matrix: The stitch's matrix.
        biases: The stitch's bias.
        singular_values: Of the matrix.
        initial_accuracy: Before training.
        initial_loss: Before training.
        initial_relative_accuracy: Before training.
        initial_cross_entropy: Before training.
        initial_kl: Before training.
        initial_agreement: Before training.
        cka: Linear CKA (biased) of the stitch's output and the back's activation.
        cka_debiased: The same, debiased.
        cka_unstitched: Linear CKA (biased) of the front's and the back's activation.
        cka_debiased_unstitched: The same, debiased.
        initial_cka: Before training.
        l2: Mean squared difference of the stitch's output and the back's activation; None for another size.
        initial_l2: Before training.
        r2: Share of the variance of the back's channels that the stitch's output explains.
        initial_r2: Before training.
        depth: Place of the front layer among all layers of the front network, from 0, in order of execution.
        sparsity: Share of entries of the matrix smaller than 1e-4.
        parameters: Numbers that were trained.
        iterations_taken: Steps taken.
        train_loss: Mean loss of the last epoch; None for 0 epochs.
        probe_images: Images on which activations are compared; fewer than `probe` where the test split has fewer.
        form: ``affine``, ``flat`` or ``low-rank``.
        features: ``cached`` where the networks ran once over the training images, ``computed`` where for every batch.
    """

    network: Weights
    epochs: Table
    iterations: Table
    thresholds: Table
    matrix: Table
    biases: Table
    singular_values: Table
    initial_accuracy: float
    initial_loss: float
    initial_relative_accuracy: float | None
    initial_cross_entropy: float
    initial_kl: float
    initial_agreement: float
    cka: float | None
    cka_debiased: float | None
    cka_unstitched: float | None
    cka_debiased_unstitched: float | None
    initial_cka: float | None
    l2: float | None
    initial_l2: float | None
    r2: float | None
    initial_r2: float | None
    depth: int
    sparsity: float
    parameters: int
    iterations_taken: int
    train_loss: float | None
    probe_images: int
    form: str
    features: str

    def figure(self) -> tuple[str, dict[str, Table], dict[str, Any]]:
        """Return the name of the figure of this result, its tables and its options."""
        if not len(self.matrix):
            return "stitch-course", {"table": self.epochs.assign(lossy_images=self.lossy_images)}, {}
        matrix = self.matrix.assign(lossy_images=self.lossy_images)
        return "stitch-map", {"table": matrix, "singular_values": self.singular_values}, {}


def as_table(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return rows as one of the tables of the result; missing numbers are NaN.

    >>> list(as_table("biases", []).columns)
    ['stage', 'row', 'value']
    """
    import pandas

    columns = _COLUMNS[name]
    table = pandas.DataFrame([{column: row.get(column) for column in columns} for row in rows], columns=list(columns))
    kinds = {column: "int64" if column in _WHOLE else "float64" for column in columns if column != "stage"}
    return table.astype(kinds)
