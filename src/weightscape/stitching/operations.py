"""How studies stitch networks on the task loss, and go from one stitch to another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from weightscape.data.specification import DataSpec
from weightscape.errors import Problem
from weightscape.models.architecture import Architecture
from weightscape.operation import Context, operation
from weightscape.parameters import Inherited, Positional
from weightscape.rehearsal import Rehearsal
from weightscape.stitching.line_result import StitchLine
from weightscape.stitching.result import StitchResult
from weightscape.stitching.settings import Init, Mask, Resize, Rule, StitchSpec, Target
from weightscape.together import Together
from weightscape.training.recipe import Schedule, Thirds

if TYPE_CHECKING:
    from weightscape.weights.algebra import Weights

Split: TypeAlias = Literal["train", "validation", "test"]
Points: TypeAlias = Annotated[int, Field(ge=2)]
Weight: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
_THIRDS = Thirds(name="thirds")
COMMON = ("front_model", "back_model", "data", "probe", "thresholds", "measure_every")
"""Settings that stitches must share to be trained in one call, whatever the pair of networks."""
LAYERS_AND_FORM = ("front_layer", "back_layer", "init", "mask", "rank", "flatten", "resize")
"""Settings that say between which layers a stitch can be made."""


def stitched_architecture(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the architecture of the network that stitching with these settings makes, as plain data."""
    low_rank = settings.get("rank") is not None
    made = {
        "name": "stitched",
        "front": settings["front_model"],
        "back": settings["back_model"],
        "front_layer": settings["front_layer"],
        "back_layer": settings.get("back_layer") or settings["front_layer"],
        "form": "flat" if settings.get("flatten") else "low-rank" if low_rank else "affine",
    }
    made |= {"rank": settings["rank"]} if low_rank else {}
    return made | ({"resize": settings["resize"]} if settings.get("resize", "refuse") != "refuse" else {})


def _label(settings: Any) -> str:
    return json.dumps(settings.model_dump(mode="json", include=set(COMMON)), sort_keys=True)


def _fits(settings: Any) -> list[Problem]:
    """Return what is wrong with the settings of a stitch taken together, each of which is right."""
    try:
        StitchSpec(**{name: getattr(settings, name) for name in StitchSpec.model_fields})
    except ValidationError as error:
        reasons = [str(found["msg"]).removeprefix("Value error, ") for found in error.errors()]
        expected, received = "settings that go together", "some that exclude each other"
        return [Problem("", expected, received, f"{reason[:1].upper()}{reason[1:]}.") for reason in reasons]
    return []


@operation(
    "stitch",
    version=1,
    together=Together(
        label=_label,
        function="weightscape.stitching.together.stitch_together",
        devices=("cpu", "cuda", "mps"),
    ),
    architectures={"network": stitched_architecture},
    fits=_fits,
    rehearsal=Rehearsal(
        looks_at=("front_model", "back_model", "data", *LAYERS_AND_FORM),
        function="weightscape.stitching.rehearsal.rehearse_stitch",
    ),
)
def stitch(
    front: Weights,
    back: Weights,
    *,
    front_layer: Annotated[str, Positional],
    back_layer: Annotated[str | None, Positional] = None,
    front_model: Architecture,
    back_model: Architecture,
    data: DataSpec,
    init: Init = "ps_inv",
    mask: Mask = "identity",
    target: Target = "soft_2",
    temperature: PositiveFloat = 1.0,
    l1: NonNegativeFloat = 0.0,
    cka_reg: Weight = 0.0,
    rank: PositiveInt | None = None,
    flatten: bool = False,
    resize: Resize = "refuse",
    optimizer: Rule = "adam",
    lr: PositiveFloat = 1e-3,
    weight_decay: NonNegativeFloat = 0.0,
    epochs: NonNegativeInt = 30,
    batch_size: PositiveInt = 128,
    schedule: Schedule = _THIRDS,
    seed: int = 0,
    probe: PositiveInt = 1000,
    thresholds: tuple[PositiveFloat, ...] = (1e-4,),
    measure_every: NonNegativeInt = 0,
    context: Context,
) -> StitchResult:
    """Stitch one network to another and train the stitch on the task loss (arXiv 2110.14633).

    The front network runs up to its layer, an affine map leads to the activation of the back network at its layer, and
    the back network does the rest. Both are frozen. Without a back layer, it is that of the front.

    Args:
        front: The network that the stitch begins with.
        back: The network that goes on after it.
        front_layer: Where the front network is left, e.g. bn3 or layer2.1.add.
        back_layer: Where the back network is entered; like the front layer by default.
        front_model: The architecture of the front network.
        back_model: The architecture of the back network.
        data: The data set; what its training batches are augmented with counts here too.
        init: Where the stitch begins: least squares on the training split, random, a permutation, ...
        mask: Which entries of the matrix may differ from 0.
        target: What is learnt: the labels, or the outputs of one or both networks.
        temperature: Divides the logits of student and teacher for soft targets.
        l1: Weight of the mean of the absolute entries of the matrix.
        cka_reg: Weight of the CKA with the back network's own activation, per batch; positive lowers it.
        rank: Rank of the matrix; full by default.
        flatten: Whether whole activations are mapped, not each pixel alike.
        resize: What becomes of maps of another height and width: refused, kept as they are, or resized.
        optimizer: Update rule: adam, or sgd with Nesterov momentum 0.9.
        lr: Learning rate.
        weight_decay: Weight decay of matrix and bias.
        epochs: Passes over the training split; 0 only begins.
        batch_size: Images per step.
        schedule: Learning rate along the run.
        seed: Order of the data, augmentation, and whatever is drawn.
        probe: Test images on which activations are compared.
        thresholds: Entries of the matrix below each are set to 0 and the stitch is scored again.
        measure_every: Steps between two rows of the table of iterations; 0 for none.
        context: Device, folders, progress and the wish to stop.
    """
    call = {name: value for name, value in locals().items() if name != "context"}
    from weightscape.stitching.together import stitch_alone

    return stitch_alone(call, context=context)


@operation("interpolate-stitches", version=1)
def interpolate_stitches(
    first: Weights,
    second: Weights,
    back: Weights | None = None,
    *,
    first_model: Architecture,
    second_model: Architecture,
    back_model: Annotated[Architecture | None, Inherited] = None,
    data: DataSpec,
    points: Points = 11,
    split: Split = "test",
    context: Context,
) -> StitchLine:
    """Go in a straight line from one stitch to another of the same two networks and layers (arXiv 2110.14633).

    Args:
        first: The stitched network at the start of the line.
        second: The stitched network at its end; front and back must be those of the first.
        back: The back network as it was trained, against which answers are scored; without it only loss and accuracy
            are measured.
        first_model: The architecture of the first stitched network.
        second_model: The architecture of the second; front, back and layers are those of the first.
        back_model: The architecture of the back network.
        data: The data set.
        points: Number of points, both ends included.
        split: Which part of the data set is measured on.
        context: Device, folders, progress and the wish to stop.
    """
    from weightscape.stitching.together import line_between

    return line_between(
        (first, first_model),
        (second, second_model),
        (back, back_model),
        data=data,
        points=points,
        split=split,
        context=context,
    )
