"""What a transfer returns. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weightscape.results import Result
from weightscape.transfer.clock import PHASES

if TYPE_CHECKING:
    from weightscape.results import Table
    from weightscape.symmetry.permutation import Permutation
    from weightscape.weights.algebra import Weights

COLUMNS = (
    "step",
    "fraction",
    "validation_accuracy",
    "validation_loss",
    "test_accuracy",
    "test_loss",
    "objective",
    "objective_identity",
    "cosine_matching",
    "cosine_heldout",
    "cosine_identity",
    "cosine_null",
    "moved",
    "changed",
    "sweeps",
    "solves",
    "permuted_source_validation_accuracy",
    "permuted_source_test_accuracy",
)
"""The columns of :attr:`TransferResult.steps`."""
_COUNTS = ("step", "sweeps", "solves")


@dataclass(frozen=True)
class TransferResult(Result):
    """A transferred trajectory: its best and its last point, the permutation, and evidence for every step.

    Accuracies are shares in [0, 1], losses mean cross-entropies in nats. The best step is chosen on the *validation*
    split and reported on the test split.

    The table ``steps`` has one row per step; row 0 is the target's initialisation. Where nothing was measured, values
    are missing (NaN). Its columns:

    - ``step`` s; ``fraction`` λ, the share of the source's trajectory that was transferred.
    - ``validation_accuracy``, ``validation_loss``, ``test_accuracy``, ``test_loss``: after the batch-norm policy.
    - ``objective``: what the step's matching maximised, the sum over its pairs of ``<target, π source>``;
      ``objective_identity``: the same without a permutation. Pairs are gradients for GMT and FGMT, displacements for
      the oracle.
    - ``cosine_matching``: cosine between the source's gradient at point s - 1, permuted by π of step s, and the
      target's gradient there (under π of step s - 1), on the batches of the matching (GMT and FGMT). The permutation
      was fitted to it, which flatters it.
    - ``cosine_heldout``: the same, for all methods, on batches from the tenth of the training split that is never
      matched: the honest one.
      ``cosine_identity`` and ``cosine_null``: on these batches too, without a permutation and under a random one.
    - ``moved``: share of units that the permutation moves; ``changed``: share of units whose place differs from the
      step before (from the identity, at step 1).
    - ``sweeps``, ``solves``: work of the matching at this step.
    - ``permuted_source_validation_accuracy``, ``permuted_source_test_accuracy``: accuracy of the permuted source point
      ``π P_s`` itself, without the target: the control. It is *measured without the permutation*, at ``P_s``, after the
      batch-norm policy: π does not change the network's function. That is proved once per transfer, for every group
      (:func:`~weightscape.symmetry.verification.verify_symmetry`).

    Attributes:
        best: Weights at the step with the highest validation accuracy, the first one of equals; the initialisation
            (step 0) does not count. Running statistics are those of the batch-norm policy.
        last: Weights at the last step.
        permutation: Permutation of the last step.
        best_permutation: Permutation of the best step.
        steps: The evidence.
        best_step: Number of the best step.
        best_fraction: λ of the best step.
        best_validation_accuracy: At the best step; biased upwards, as any maximum.
        best_validation_loss: At the best step.
        test_accuracy: At the best step.
        test_accuracy_stderr: Binomial standard error of `test_accuracy`, of the sampling of test images alone.
        test_loss: At the best step.
        last_validation_accuracy: At the last step.
        last_validation_loss: At the last step.
        last_test_accuracy: At the last step.
        last_test_loss: At the last step.
        gradient_seconds: Time in gradients that were matched, over all interruptions.
        assignment_seconds: Time in assignment problems.
        cost_seconds: Time in the inner products that make them.
        evaluation_seconds: Time in what the method itself does not need: accuracies, controls, held-out gradients.
        total_seconds: All time.
    """

    best: Weights
    last: Weights
    permutation: Permutation
    best_permutation: Permutation
    steps: Table
    best_step: int
    best_fraction: float
    best_validation_accuracy: float
    best_validation_loss: float
    test_accuracy: float
    test_accuracy_stderr: float
    test_loss: float
    last_validation_accuracy: float
    last_validation_loss: float
    last_test_accuracy: float
    last_test_loss: float
    gradient_seconds: float
    assignment_seconds: float
    cost_seconds: float
    evaluation_seconds: float
    total_seconds: float


def best_step(rows: Sequence[Mapping[str, float]]) -> int:
    """Return the first step after the initialisation with the highest validation accuracy."""
    return max(range(1, len(rows)), key=lambda step: rows[step]["validation_accuracy"])


def scores(rows: Sequence[Mapping[str, float]], *, test_count: int) -> dict[str, Any]:
    """Return the fields of the result that follow from the rows."""
    number = best_step(rows)
    best, last = rows[number], rows[-1]
    accuracy = best["test_accuracy"]
    return {
        "steps": as_table(rows),
        "best_step": number,
        "best_fraction": best["fraction"],
        "best_validation_accuracy": best["validation_accuracy"],
        "best_validation_loss": best["validation_loss"],
        "test_accuracy": accuracy,
        "test_accuracy_stderr": math.sqrt(accuracy * (1 - accuracy) / test_count),
        "test_loss": best["test_loss"],
        "last_validation_accuracy": last["validation_accuracy"],
        "last_validation_loss": last["validation_loss"],
        "last_test_accuracy": last["test_accuracy"],
        "last_test_loss": last["test_loss"],
    }


def total_seconds(times: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return the fields of the result that hold the time by phase."""
    return {f"{phase}_seconds": math.fsum(seconds[phase] for seconds in times) for phase in (*PHASES, "total")}


def as_table(rows: Sequence[Mapping[str, float]]) -> Table:
    """Return the rows as a table with all columns; missing numbers are NaN."""
    import pandas

    table = pandas.DataFrame([{name: row.get(name, math.nan) for name in COLUMNS} for row in rows], columns=COLUMNS)
    return table.astype(float).astype(dict.fromkeys(_COUNTS, "int64"))
