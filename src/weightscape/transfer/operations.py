"""How studies transfer trajectories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import NonNegativeInt, PositiveInt

from weightscape.data.specification import DataSpec
from weightscape.models.architecture import Architecture
from weightscape.operation import Context, operation
from weightscape.seeds import derive
from weightscape.transfer.result import TransferResult
from weightscape.transfer.settings import BatchNorm, Control, Method, Path, Schedule, StartFrom

if TYPE_CHECKING:
    from weightscape.weights.trajectory import Trajectory


@operation("transfer", version=1)
def transfer(
    source: Trajectory,
    target: Trajectory,
    *,
    model: Architecture,
    data: DataSpec,
    method: Method = "fgmt",
    steps: PositiveInt | None = None,
    schedule: Schedule = "uniform",
    trajectory: Path = "linear",
    batches: PositiveInt = 1,
    batch_size: PositiveInt = 128,
    seed: int = 0,
    start_from: StartFrom = "previous",
    batch_norm: BatchNorm = "recalibrate",
    batch_norm_batches: PositiveInt = 20,
    heldout_batches: NonNegativeInt = 1,
    control: Control = "source",
    compat: bool = False,
    context: Context,
) -> TransferResult:
    """Transfer a learning trajectory to another initialisation by matching gradients (arXiv 2305.14122).

    The target's initialisation is its first snapshot; only the method ``oracle`` looks at the later ones. Without
    ``steps``, a linear trajectory has 30 and an actual one as many as there are stretches between the source's
    snapshots. Every pair of initialisations has batches of its own, the same for all methods; ``seed`` changes them.

    Args:
        source: The trained run.
        target: The run whose initialisation is transferred to.
        model: The network.
        data: The data set.
        method: How the permutation is found.
        steps: Number of steps.
        schedule: How far each step goes: all equally, or far at first.
        trajectory: The straight line from the first snapshot to the last, or through all of them.
        batches: Batches per gradient.
        batch_size: Images per batch.
        seed: Names the batches and shuffles the matching.
        start_from: Where each match begins: at the permutation of the step before, or at the identity, as published.
        batch_norm: What happens to running statistics before each evaluation; ``none`` keeps those of the target.
        batch_norm_batches: Training batches that recalibrate them.
        heldout_batches: Batches per gradient of the held-out cosines; 0 leaves these out.
        control: Whether the permuted points of the source are evaluated as well.
        compat: Do as the published code did: keep flattened maps fixed, and on an actual trajectory fit the oracle to
            the first stretch only.
        context: Device, folders, progress and the wish to stop.
    """
    from weightscape.data.loading import load_data
    from weightscape.models.building import build_model
    from weightscape.transfer.trajectory import transfer_trajectory
    from weightscape.weights.digest import digest

    dataset = load_data(data, root=context.data_root, device=context.device)
    return transfer_trajectory(
        source,
        target.first,
        model=build_model(model, shape=dataset.shape, classes=len(dataset.classes)),
        dataset=dataset,
        method=method,
        steps=steps,
        schedule=schedule,
        trajectory=trajectory,
        batches=batches,
        batch_size=batch_size,
        seed=derive(seed, "match", digest(source.first), digest(target.first)),
        start_from=start_from,
        batch_norm=batch_norm,
        batch_norm_batches=batch_norm_batches,
        heldout_batches=heldout_batches,
        control=control,
        target_trajectory=target if method == "oracle" else None,
        compat=compat,
        device=context.device,
        partial=context.partial,
        on_step=lambda done, total, row: context.progress(_share(method, done, total), f"step {done} of {total}"),
        should_stop=context.should_stop,
    )


def _share(method: Method, done: int, total: int) -> float:
    """Return the share of the work that is done: step s of GMT takes s gradients."""
    return done * (done + 1) / (total * (total + 1)) if method == "gmt" else done / total
