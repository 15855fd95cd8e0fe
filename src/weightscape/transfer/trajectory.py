"""Transfer a learning trajectory to another initialisation (Chijiwa, ICLR 2024, arXiv 2305.14122)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import torch
from torch import nn

from weightscape.symmetry.groups import Symmetry
from weightscape.transfer.preparation import Job
from weightscape.transfer.records import StepRecord, StepRecords
from weightscape.transfer.result import TransferResult, best_step, scores, total_seconds
from weightscape.transfer.settings import BatchNorm, Control, Method, Path, Schedule, Settings, StartFrom
from weightscape.transfer.walk import OnStep, Walk
from weightscape.weights.algebra import Weights
from weightscape.weights.trajectory import Trajectory

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset


def transfer_trajectory(
    source: Trajectory,
    target: Weights,
    *,
    model: nn.Module,
    dataset: Dataset,
    method: Method = "fgmt",
    steps: int | None = None,
    schedule: Schedule = "uniform",
    trajectory: Path = "linear",
    batches: int = 1,
    batch_size: int = 128,
    seed: int = 0,
    start_from: StartFrom = "previous",
    batch_norm: BatchNorm = "recalibrate",
    batch_norm_batches: int = 20,
    heldout_batches: int = 1,
    control: Control = "source",
    target_trajectory: Trajectory | None = None,
    symmetry: Symmetry | None = None,
    compat: bool = False,
    device: str | torch.device = "cpu",
    partial: str | FilePath | None = None,
    on_step: OnStep | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TransferResult:
    """Synthesise the training of the target's initialisation from the training of the source.

    At each step s one permutation π of the hidden units is found, and the point is ``θ₂⁰ + π(P_s - P_0)``, where P_s
    is the source's trajectory at step s. The permutation makes the source's gradients agree with the target's along
    both trajectories (``gmt``, algorithm 1 of the paper; ``fgmt`` keeps the target's gradients of earlier steps), or is
    fitted to the target's own training (``oracle``), or is the identity (``naive``). For T steps GMT takes T gradients
    of the source and ``T (T - 1) / 2 + 1`` of the target, FGMT T of each.

    On the same machine and number of threads the result is the same to the bit on a CPU, also when the run was
    interrupted; the two gradient methods are equal to the bit at step 1.

    Args:
        source: The trained run; its first snapshot is its initialisation.
        target: The other initialisation, parameters and buffers.
        model: Template of the network; never changed.
        dataset: Gradients are matched on its training split; the best step is chosen on the validation split and
            reported on the test split.
        method: How the permutation is found.
        steps: Number of steps T. By default 30 on a linear trajectory, and one per stretch between snapshots on an
            actual one.
        schedule: How far each step goes; see :func:`~weightscape.transfer.schedule.fractions`.
        trajectory: ``linear`` runs straight from the first snapshot to the last, ``actual`` through all of them.
        batches: Batches per gradient.
        batch_size: Images per batch.
        seed: Seed of the pair: it names the batches and shuffles the matching. Never combined with the method.
        start_from: Where the matching begins at each step: at the permutation of the ``previous`` one, which takes
            fewer sweeps to as good an objective, or at the ``identity``, as published.
        batch_norm: What happens to running statistics before each evaluation; ``none`` keeps those of `target`.
        batch_norm_batches: Training batches that recalibrate them.
        heldout_batches: Batches per gradient of the held-out cosines; 0 leaves these out.
        control: Whether to evaluate the source's points as well.
        target_trajectory: The target's own training, which only the oracle looks at.
        symmetry: Permutation groups of the network; discovered when left out.
        compat: Do as the published code did: keep flattened maps fixed, and on an actual trajectory fit the oracle to
            the first stretch only.
        device: Where to compute.
        partial: Folder for finished steps, from which an interrupted transfer goes on.
        on_step: Called with the step done, the number of steps and the row of the table.
        should_stop: Asked before every gradient and every matching.

    Raises:
        TrainingError: If an option is out of range, a trajectory has fewer than two snapshots, the steps cannot be
            divided among the stretches, or the oracle has no trajectory of the target.
        ModelError: If source, target and model are of different architectures.
        SymmetryError: If the network cannot be traced, or gradients are not finite.
        StoreError: If `partial` holds another transfer.
        Interrupted: If `should_stop` said so; finished steps are kept in `partial`.
    """
    settings = Settings(
        method=method,
        steps=steps,
        schedule=schedule,
        trajectory=trajectory,
        batches=batches,
        batch_size=batch_size,
        seed=seed,
        start_from=start_from,
        batch_norm=batch_norm,
        batch_norm_batches=batch_norm_batches,
        heldout_batches=heldout_batches,
        control=control,
        compat=compat,
    )
    job = Job(settings, source, target, target_trajectory, model, dataset, str(device), should_stop)
    walk, identity = job.prepare(symmetry, hashed=partial is not None)
    return _summarise(walk, walk.run(StepRecords(partial, identity), on_step))


def _summarise(walk: Walk, records: list[StepRecord]) -> TransferResult:
    rows = [record.row for record in records]
    best = best_step(rows)
    with walk.clock("evaluation"):
        best_weights, last_weights = (
            walk.evaluator.settled(walk.weights(step, records[step].permutation)) for step in (best, len(records) - 1)
        )
    times = [*(record.seconds for record in records), walk.clock.read()]
    return TransferResult(
        best=best_weights,
        last=last_weights,
        permutation=records[-1].permutation,
        best_permutation=records[best].permutation,
        **scores(rows, test_count=len(walk.evaluator.dataset.test)),
        **total_seconds(times),
    )
