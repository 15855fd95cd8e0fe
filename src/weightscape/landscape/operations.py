"""How studies compare two networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field, PositiveInt

from weightscape.data.specification import DataSpec
from weightscape.landscape.result import Diagnosis
from weightscape.landscape.settings import BatchNorm
from weightscape.models.architecture import Architecture
from weightscape.operation import Context, operation

if TYPE_CHECKING:
    from weightscape.weights.algebra import Weights

Split: TypeAlias = Literal["train", "validation", "test"]
Method: TypeAlias = Literal["weights", "activations"]
Points: TypeAlias = Annotated[int, Field(ge=2)]


@operation("diagnose", version=1)
def diagnose(
    source: Weights,
    target: Weights,
    *,
    model: Architecture,
    data: DataSpec,
    split: Split = "test",
    images: PositiveInt | None = None,
    method: Method = "weights",
    match_batches: PositiveInt = 10,
    points: Points = 11,
    batch_norm: BatchNorm = "recalibrate",
    batch_norm_batches: PositiveInt = 10,
    seed: int = 0,
    context: Context,
) -> Diagnosis:
    """Compare two networks: alignment, the barrier between them before and after it, shared mistakes.

    The units of the source are permuted, the target stays as it is. Heights and mistakes are measured on ``split``;
    what is fitted (activations, running statistics) is fitted on training images.

    Args:
        source: The network whose units are permuted.
        target: The network that stays.
        model: The network's architecture.
        data: The data set.
        split: Which part of the data set is measured on.
        images: Measure on that many random images of it; on all by default.
        method: Compare weights or activations.
        match_batches: Training batches of 128 images on which activations are compared.
        points: Points on each line, the ends included.
        batch_norm: Compute running statistics anew at every point, or take those of the nearer end.
        batch_norm_batches: Training batches of 128 images on which they are computed.
        seed: Draws images and batches and shuffles the matching.
        context: Device, folders, progress and the wish to stop.
    """
    from weightscape.data.loading import load_data
    from weightscape.errors import Interrupted
    from weightscape.landscape.diagnosis import diagnose as compare
    from weightscape.models.building import build_model

    def show(done: int, total: int) -> None:
        context.progress(done / total, f"point {done} of {total}")
        if context.should_stop():
            raise Interrupted("Stopped while the line was measured; the same command starts it again.")

    dataset = load_data(data, root=context.data_root, device=context.device)
    return compare(
        source,
        target,
        model=build_model(model, shape=dataset.shape, classes=len(dataset.classes)),
        dataset=dataset,
        split=split,
        images=images,
        method=method,
        match_batches=match_batches,
        points=points,
        batch_norm=batch_norm,
        batch_norm_batches=batch_norm_batches,
        seed=seed,
        device=context.device,
        progress=show,
    )
