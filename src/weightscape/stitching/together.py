"""How the operations of stitching are computed, one task alone or several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from weightscape.data.loading import load_data
from weightscape.errors import Interrupted, ModelError, WeightscapeError
from weightscape.models.building import filled_model
from weightscape.operation import Context
from weightscape.stitching.line import line_of_stitches
from weightscape.stitching.line_result import StitchLine
from weightscape.stitching.result import StitchResult
from weightscape.stitching.settings import StitchSpec
from weightscape.stitching.task_loss import train_stitches
from weightscape.together import Publish
from weightscape.weights.digest import digest

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset
    from weightscape.data.specification import DataSpec
    from weightscape.models.architecture import Architecture
    from weightscape.weights.algebra import Weights


def stitch_alone(call: Mapping[str, Any], *, context: Context) -> StitchResult:
    """Compute one task of ``stitch``, given by its inputs and settings.

    Raises:
        Exception: Why there is no result.
    """
    made: list[Any] = []
    _stitch_pair([call], context=context, publish=lambda number, result, how: made.append(result), share=(0.0, 1.0))
    if isinstance(made[0], Exception):
        raise made[0]
    result: StitchResult = made[0]
    return result


def stitch_together(calls: Sequence[Mapping[str, Any]], *, context: Context, publish: Publish) -> None:
    """Compute tasks of ``stitch`` on one data set, pair of networks after pair (``stitching.operations.stitch``).

    Args:
        calls: Inputs and settings of each task; models, data and what is measured are those of the first.
        context: Device, folders, progress and the wish to stop.
        publish: Called with each result, or the error in its place, and how it came about.
    """
    pairs: dict[tuple[str, str], list[int]] = {}
    hashes: dict[int, str] = {}
    for number, call in enumerate(calls):
        sides = (call["front"], call["back"])
        names = [hashes.setdefault(id(weights), digest(weights)) for weights in sides]
        pairs.setdefault((names[0], names[1]), []).append(number)
    done = 0
    for (front, back), members in pairs.items():
        share = done / len(calls), len(members) / len(calls)
        place = None if context.partial is None else context.partial / f"{front[:8]}-{back[:8]}"
        _publish_pair(calls, members, context=context, publish=publish, share=share, place=place)
        done += len(members)


def _publish_pair(
    calls: Sequence[Mapping[str, Any]],
    members: Sequence[int],
    *,
    context: Context,
    publish: Publish,
    share: tuple[float, float],
    place: Path | None,
) -> None:
    """Compute the tasks of one pair of networks; what stops this pair stops no other.

    Raises:
        Interrupted: If the user asked to stop.
    """
    open_ = set(members)

    def told(number: int, result: Any, how: str) -> None:
        open_.discard(members[number])
        publish(members[number], result, how)

    try:
        _stitch_pair([calls[number] for number in members], context=context, publish=told, share=share, place=place)
    except Interrupted:
        raise
    except WeightscapeError as error:
        for number in sorted(open_):
            publish(number, error, "")


def _stitch_pair(
    calls: Sequence[Mapping[str, Any]],
    *,
    context: Context,
    publish: Publish,
    share: tuple[float, float],
    place: Path | None = None,
) -> None:
    first = calls[0]
    dataset = load_data(first["data"], root=context.data_root, device=context.device)
    start, size = share
    train_stitches(
        network_of(first["front_model"], first["front"], dataset, name="front"),
        network_of(first["back_model"], first["back"], dataset, name="back"),
        dataset,
        [StitchSpec(**{name: call[name] for name in StitchSpec.model_fields}) for call in calls],
        probe=first["probe"],
        thresholds=first["thresholds"],
        measure_every=first["measure_every"],
        device=context.device,
        resume=context.partial if place is None else place,
        on_stitch=publish,
        on_progress=lambda done, text: context.progress(start + size * done, text),
        should_stop=context.should_stop,
    )


def network_of(model: Architecture, weights: Weights, dataset: Dataset, *, name: str) -> nn.Module:
    """Return a network with its weights; `name` is what messages call it.

    Raises:
        ModelError: If the weights are of another architecture.
    """
    called = f"The {name} network"
    return filled_model(model, weights, shape=dataset.shape, classes=len(dataset.classes), called=called)


def line_between(
    first: tuple[Weights, Architecture],
    second: tuple[Weights, Architecture],
    back: tuple[Weights | None, Architecture | None],
    *,
    data: DataSpec,
    points: int,
    split: str,
    context: Context,
) -> StitchLine:
    """Compute one task of ``interpolate-stitches``, networks given by weights and architecture.

    Raises:
        ModelError: If the back network is given without its architecture.
    """
    dataset = load_data(data, root=context.data_root, device=context.device)
    start, end = (
        network_of(model, weights, dataset, name=name)
        for name, (weights, model) in (("first", first), ("second", second))
    )
    weights, model = back
    if weights is not None and model is None:
        raise ModelError("Expected the architecture of the back network, received its weights alone. Add back_model.")
    return line_of_stitches(
        start,
        end,
        getattr(dataset, split),
        back=None if weights is None or model is None else network_of(model, weights, dataset, name="back"),
        points=points,
        lossy=dataset.lossy,
        device=context.device,
        should_stop=context.should_stop,
    )
