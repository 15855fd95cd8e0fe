"""What an import returns. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weightscape.results import Result

if TYPE_CHECKING:
    from weightscape.results import Table
    from weightscape.weights.trajectory import Trajectory


@dataclass(frozen=True)
class ImportResult(Result):
    """A run that was trained elsewhere.

    Attributes:
        trajectory: Its snapshots.
        snapshots: One row per snapshot: ``step``, ``file``, ``format``, ``member`` (where in the file the weights
            were), ``prefix`` (what was taken off the names), ``epoch`` and ``iteration`` (what the file says beside
            them).
        epochs: The log of the training, for layouts that have one: ``epoch``, ``train_loss``, ``train_accuracy``,
            ``test_loss``, ``test_accuracy``.
        first: The first step.
        last: The last step.
        count: Number of snapshots.
        tensors: Number of tensors of a snapshot.
        numbers: Numbers in a snapshot, those of buffers included.
        checked: Whether the names and shapes were compared with a network.
    """

    trajectory: Trajectory
    snapshots: Table
    epochs: Table
    first: str
    last: str
    count: int
    tensors: int
    numbers: int
    checked: bool
