"""How studies take representations of networks and compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, NonNegativeInt, PositiveInt

from weightscape.data.specification import DataSpec
from weightscape.errors import DataError, Problem
from weightscape.models.architecture import Architecture
from weightscape.operation import Context, operation
from weightscape.parameters import Inherited
from weightscape.rehearsal import Rehearsal
from weightscape.similarity.measure import measure_names
from weightscape.similarity.result import Comparison, Representation
from weightscape.similarity.settings import DEFAULT, Form, Layers, Measures

if TYPE_CHECKING:
    from weightscape.weights.algebra import Weights

Split: TypeAlias = Literal["train", "validation", "test"]
Choice: TypeAlias = Literal["random", "first"]
Intervals: TypeAlias = Literal["jackknife", "subsampling"]
BatchSize: TypeAlias = Annotated[int, Field(ge=2)]


@operation(
    "represent",
    version=1,
    architectures={"grams": lambda settings: None},
    rehearsal=Rehearsal(
        looks_at=("model", "data", "layers"), function="weightscape.similarity.rehearsal.rehearse_represent"
    ),
)
def represent(
    weights: Weights,
    *,
    model: Architecture,
    data: DataSpec,
    layers: Layers = ("all",),
    form: Literal["features", "pooled"] = "features",
    images: PositiveInt = 1000,
    chosen: Choice = "random",
    split: Split = "test",
    probe_seed: int = 0,
    context: Context,
) -> Representation:
    """Take the representation of a network: the Gram matrix of each layer on a fixed set of images.

    Stored once, it is compared with any other on the same images without the network and without the data.

    Args:
        weights: The network.
        model: Its architecture.
        data: The data set.
        layers: Addresses or patterns, such as [conv*, fc] or 'bn*,fc'; all modules without modules of their own.
        form: How maps become rows: flattened (features), or the means over the map (pooled).
        images: Images shown at most, the same for all networks.
        chosen: Images of the split drawn at random, or the first ones.
        split: Which part of the data set.
        probe_seed: Draws the images; it is the same for all networks that are to be compared.
        context: Device, folders, progress and the wish to stop.
    """
    from weightscape.similarity.tasks import Shown, represent_weights

    return represent_weights(
        weights,
        model=model,
        data=data,
        layers=layers,
        form=form,
        shown=Shown(images, chosen, split, probe_seed),
        context=context,
    )


def _fits(settings: Any) -> list[Problem]:
    """Return what no comparison can do.

    The usual one, of which all is known, is not looked at and loads no torch; neither are measures of the user's own,
    whose code does not run while a study is planned.
    """
    asked = settings.null, settings.intervals, settings.average_over, settings.form
    bundled = tuple(measure for measure in settings.measures if measure.name in measure_names())
    plain = not any(measure.options for measure in bundled)
    if settings.measures and (not bundled or (plain and asked == (0, None, None, None))):
        return []
    from weightscape.similarity.cells import Asked
    from weightscape.similarity.plan import plan_measures

    try:
        beside = Asked(null=settings.null, intervals=settings.intervals, batch=settings.average_over)
        plan_measures(bundled, settings.form, beside)
    except DataError as error:
        return [Problem("measures", "measures that can be had like this", "others", str(error))]
    return []


@operation(
    "compare",
    version=1,
    fits=_fits,
    rehearsal=Rehearsal(
        looks_at=("source_model", "target_model", "data", "layers", "target_layers"),
        function="weightscape.similarity.rehearsal.rehearse_compare",
    ),
)
def compare(
    source: Weights,
    target: Weights,
    *,
    source_model: Annotated[Architecture | None, Inherited] = None,
    target_model: Annotated[Architecture | None, Inherited] = None,
    data: Annotated[DataSpec | None, Inherited] = None,
    layers: Layers = ("all",),
    target_layers: Layers | None = None,
    measures: Measures = DEFAULT,
    form: Form | None = None,
    images: PositiveInt = 1000,
    chosen: Choice = "random",
    split: Split = "test",
    probe_seed: int = 0,
    average_over: BatchSize | None = None,
    null: NonNegativeInt = 0,
    intervals: Intervals | None = None,
    seed: int = 0,
    context: Context,
) -> Comparison:
    """Compare the layers of two networks by measures of similarity, each layer with each.

    Both are networks, or both are what ``represent`` stored; then no network is run and no data set is needed.

    Args:
        source: The first network, or its representation.
        target: The second network, or its representation.
        source_model: Architecture of the first network.
        target_model: Architecture of the second network.
        data: The data set.
        layers: Layers of the first network: addresses or patterns, such as [conv*, fc] or 'bn*,fc'.
        target_layers: Layers of the second network; like ``layers`` by default.
        measures: Names of measures, such as [linear-cka, rsa-pearson], or settings: {name: svcca, variance: 0.95}.
        form: How maps become rows: flattened (features), means over the map (pooled), or each pixel a row (pixels); by
            default features for measures of images and pixels for measures of channels.
        images: Images shown to both networks, at most.
        chosen: Images of the split drawn at random, or the first ones.
        split: Which part of the data set.
        probe_seed: Draws the images.
        average_over: Measure batches of that many consecutive images and take the mean; all images at once by default.
        null: Shuffles of the pairs of images, whose values are set beside.
        intervals: How to make intervals over images: jackknife or subsampling; none by default.
        seed: Draws the shuffles and the subsets.
        context: Device, folders, progress and the wish to stop.
    """
    from weightscape.similarity.cells import Asked
    from weightscape.similarity.tasks import Shown, Sources, compare_weights

    return compare_weights(
        Sources(source, target, source_model, target_model, data),
        layers=(layers, target_layers or layers),
        measures=measures,
        form=form,
        shown=Shown(images, chosen, split, probe_seed),
        asked=Asked(null=null, intervals=intervals, seed=seed, batch=average_over),
        context=context,
    )
