"""How studies stitch two networks by direct matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BeforeValidator, NonNegativeFloat, NonNegativeInt, PositiveInt

from weightscape.data.specification import DataSpec
from weightscape.errors import Problem
from weightscape.models.architecture import Architecture
from weightscape.operation import Context, operation
from weightscape.parameters import Positional
from weightscape.rehearsal import Rehearsal
from weightscape.similarity.settings import Layers, listed
from weightscape.stitching.direct.result import DirectMatching
from weightscape.stitching.direct.settings import METHODS, NEEDED, RANKS, Method, RowForm

if TYPE_CHECKING:
    from weightscape.weights.algebra import Weights

Methods: TypeAlias = Annotated[tuple[Method, ...], BeforeValidator(listed)]


def _fits(settings: Any) -> list[Problem]:
    """Return what is missing of methods that need ranks or penalties."""
    if not settings.methods:
        return [Problem("methods", "at least one method", "none")]
    return [
        Problem(option, f"values for the method {method!r}", "none", "Give some, such as [1], or leave the method out.")
        for method, option in NEEDED.items()
        if method in settings.methods and not getattr(settings, option)
    ]


@operation(
    "direct-matching",
    version=1,
    fits=_fits,
    rehearsal=Rehearsal(
        looks_at=("front_model", "back_model", "data", "layers", "back_layers", "form"),
        function="weightscape.stitching.rehearsal.rehearse_direct_matching",
    ),
)
def direct_matching(
    front: Weights,
    back: Weights,
    *,
    layers: Annotated[Layers, Positional],
    back_layers: Annotated[Layers | None, Positional] = None,
    front_model: Architecture,
    back_model: Architecture,
    data: DataSpec,
    methods: Methods = METHODS,
    ranks: tuple[PositiveInt, ...] = RANKS,
    ridge: tuple[NonNegativeFloat, ...] = (),
    l1: NonNegativeInt | tuple[NonNegativeFloat, ...] = 8,
    form: RowForm = "pixels",
    images: PositiveInt | None = None,
    probe: PositiveInt = 1000,
    compat: bool = False,
    seed: int = 0,
    context: Context,
) -> DirectMatching:
    """Stitch two networks by the map that makes activations most alike, in many classes of maps (arXiv 2110.14633).

    Maps are fitted to training images, without augmentation, and scored on test images. One task does all layers: both
    networks run once over the images, and the back network's tail once for each stitch.

    Args:
        front: The network that stitches begin with.
        back: The network that goes on after them.
        layers: Layers of the front network, by name or pattern.
        back_layers: Layers of the back network, each matched with each of the front; by default those of the same name.
        front_model: The architecture of the front network.
        back_model: The architecture of the back network.
        data: The data set.
        methods: Classes of maps.
        ranks: Ranks of reduced-rank.
        ridge: Penalties of ridge.
        l1: Penalties of sparse, or how many to spread between nothing and least squares.
        form: Whether a map acts on the channels of each pixel, or on whole activations (for small layers).
        images: Fit to that many random training images; to all by default.
        probe: Test images on which activations are compared.
        compat: Fit reduced-rank as the published code does, without centring and bias.
        seed: Draws the training images.
        context: Device, folders, progress and the wish to stop.
    """
    from weightscape.data.loading import load_data
    from weightscape.models.building import filled_model
    from weightscape.stitching.direct.networks import stitch_directly

    dataset = load_data(data, root=context.data_root, device=context.device)
    seen: dict[str, Any] = {"shape": dataset.shape, "classes": len(dataset.classes)}
    return stitch_directly(
        filled_model(front_model, front, **seen, called="The front network"),
        filled_model(back_model, back, **seen, called="The back network"),
        dataset,
        layers,
        back_layers,
        methods=methods,
        ranks=ranks,
        ridge=ridge,
        l1=l1,
        form=form,
        images=images,
        probe=probe,
        compat=compat,
        seed=seed,
        device=context.device,
        on_progress=context.progress,
        should_stop=context.should_stop,
    )
