"""Task-loss matching: stitches that are trained until the back network answers well (arXiv 2110.14633, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn

from weightscape.errors import WeightscapeError
from weightscape.stitching.result import StitchResult
from weightscape.stitching.settings import StitchSpec
from weightscape.stitching.workshop import Workshop

if TYPE_CHECKING:
    import pandas

    from weightscape.data.dataset import Dataset

Made: TypeAlias = StitchResult | WeightscapeError
OnStitch: TypeAlias = Callable[[int, Made, str], None]
OnProgress: TypeAlias = Callable[[float, str], None]
Specs: TypeAlias = Sequence[StitchSpec | Mapping[str, Any] | str]
"""Stitches as settings, as dictionaries of them, or as the name of a layer."""


@dataclass(frozen=True)
class TrainedStitches:
    """What became of stitches of one pair of networks.

    Attributes:
        specs: The stitches that were asked for.
        members: The result of each, or the error that stopped it.
    """

    specs: tuple[StitchSpec, ...]
    members: tuple[Made, ...]

    @property
    def results(self) -> tuple[StitchResult, ...]:
        """The results of all stitches.

        Raises:
            WeightscapeError: If one has none.
        """
        for member in self.members:
            if isinstance(member, WeightscapeError):
                raise member
        return tuple(member for member in self.members if isinstance(member, StitchResult))

    def to_frame(self) -> pandas.DataFrame:
        """Return a row per stitch: its settings, its metrics, and the ``message`` of the error that stopped it."""
        import pandas

        rows = []
        for spec, member in zip(self.specs, self.members, strict=True):
            settings = {**spec.model_dump(mode="json", exclude={"schedule"}), "back_layer": spec.entry}
            if isinstance(member, WeightscapeError):
                rows.append({**settings, "message": str(member)})
            else:
                rows.append({**settings, "message": "", **member.metrics()})
        return pandas.DataFrame(rows)

    def __repr__(self) -> str:
        failed = sum(isinstance(member, WeightscapeError) for member in self.members)
        return f"TrainedStitches({len(self.members)} stitches, {failed} without a result)"


def train_stitches(
    front: nn.Module,
    back: nn.Module,
    dataset: Dataset,
    specs: Specs,
    *,
    probe: int = 1000,
    thresholds: Sequence[float] = (1e-4,),
    measure_every: int = 0,
    device: str | torch.device = "cpu",
    memory_limit: int | None = None,
    resume: str | Path | None = None,
    checkpoint_seconds: float = 10.0,
    on_stitch: OnStitch | None = None,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainedStitches:
    """Train many stitches between two networks: layers, seeds, initialisations, targets, penalties, ranks.

    Both networks are frozen, in evaluation mode, and run at most once for all stitches: where the training images are
    not augmented, the front's activations at all layers and the outputs that are learnt from are computed in one pass
    and kept, as far as memory allows; otherwise both networks see the same augmented batch. A step runs the stitch and
    the part of the back network after it. A stitch is the same whatever others are trained beside it.

    Args:
        front: The network that stitches begin with; never changed.
        back: The network that goes on after them; never changed.
        dataset: Its training split is fitted and trained on, its test split is measured on.
        specs: The stitches: settings, dictionaries of them, or names of a layer.
        probe: Images of the test split on which activations are compared.
        thresholds: Entries of the matrix below each are set to 0 and the stitch is scored again.
        measure_every: Steps between two rows of the table of iterations; 0 for none.
        device: Where to compute.
        memory_limit: Bytes that kept features may take; by default see
            :func:`~weightscape.stitching.features.memory_limit`.
        resume: Folder of checkpoints, read at the start; with the same arguments the result is the same to the bit on a
            CPU, whenever the process was killed.
        checkpoint_seconds: Time after which a checkpoint is written.
        on_stitch: Called with the position of a stitch, what became of it, and how it was trained, as soon as it ends.
        on_progress: Called with the share done and a text.
        should_stop: Asked before every step and batch; ``True`` writes a checkpoint and stops.

    Raises:
        ModelError: If a layer does not exist, or activations cannot be stitched as asked.
        DataError: If there are too few images.
        StoreError: If `resume` holds checkpoints of other stitches.
        Interrupted: If `should_stop` said so.
    """
    settings = tuple(spec_of(spec) for spec in specs)
    members: dict[int, Made] = {}

    def ended(number: int, made: Made, how: str) -> None:
        members[number] = made
        if on_stitch is not None:
            on_stitch(number, made, how)

    if settings:
        workshop = Workshop(
            front,
            back,
            dataset,
            settings,
            probe=probe,
            thresholds=thresholds,
            measure_every=measure_every,
            device=device,
            memory_limit=memory_limit,
            resume=None if resume is None else Path(resume),
            checkpoint_seconds=checkpoint_seconds,
            should_stop=should_stop or (lambda: False),
            on_progress=on_progress or (lambda share, text: None),
        )
        workshop.make_all(ended)
    return TrainedStitches(settings, tuple(members[number] for number in range(len(settings))))


def train_stitch(
    front: nn.Module, back: nn.Module, dataset: Dataset, front_layer: str, back_layer: str | None = None, **options: Any
) -> StitchResult:
    """Train one stitch; see :func:`train_stitches`.

    Args:
        front: The network that the stitch begins with; never changed.
        back: The network that goes on after it; never changed.
        dataset: Its training split is fitted and trained on, its test split is measured on.
        front_layer: Where the front network is left.
        back_layer: Where the back network is entered; like `front_layer` by default.
        options: Settings of :class:`~weightscape.stitching.settings.StitchSpec` (``init``, ``mask``, ``target``,
            ``l1``, ``rank``, ``epochs``, ``seed``, ...) and options of :func:`train_stitches`.

    Raises:
        ModelError: If a layer does not exist, or activations cannot be stitched as asked.
        TrainingError: If the loss is no longer finite.
    """
    own = {name: value for name, value in options.items() if name in StitchSpec.model_fields}
    rest = {name: value for name, value in options.items() if name not in own}
    spec = StitchSpec(front_layer=front_layer, back_layer=back_layer, **own)
    return train_stitches(front, back, dataset, [spec], **rest).results[0]


def spec_of(spec: StitchSpec | Mapping[str, Any] | str) -> StitchSpec:
    """Return settings as they are, or made of a dictionary or the name of a layer."""
    if isinstance(spec, StitchSpec):
        return spec
    return StitchSpec.model_validate({"front_layer": spec} if isinstance(spec, str) else dict(spec))
