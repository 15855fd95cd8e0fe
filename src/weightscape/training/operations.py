"""How studies train and evaluate networks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from weightscape.data.specification import DataSpec
from weightscape.earlier import Continues
from weightscape.models.architecture import Architecture
from weightscape.operation import Context, operation
from weightscape.together import Together
from weightscape.training.continuation import done_by, family_of, open_earlier
from weightscape.training.keeping import steps_of
from weightscape.training.recipe import Keep, Recipe
from weightscape.training.result import Evaluation, TrainResult

if TYPE_CHECKING:
    from weightscape.weights.algebra import Weights


Split: TypeAlias = Literal["train", "validation", "test"]


def _label(settings: Any) -> str:
    """Return what tasks have in common that can be trained as one stack: all but seeds, numbers and schedule."""
    common = settings.model_dump(mode="json", exclude={"seed", "init_seed", "order_seed"})
    for free in ("schedule", "warm_up", "best"):
        common["recipe"].pop(free)
    for number in ("lr", "momentum", "betas", "weight_decay"):
        common["recipe"]["optimizer"].pop(number, None)
    return json.dumps(common, sort_keys=True)


@operation(
    "train",
    version=1,
    together=Together(label=_label, function="weightscape.training.population_operation.train_together"),
    continues=Continues(family=family_of, done=done_by),
    keeps=steps_of,
)
def train(
    start: Weights | None = None,
    *,
    model: Architecture,
    data: DataSpec,
    recipe: Recipe = Recipe(),
    seed: int = 0,
    init_seed: int | None = None,
    order_seed: int | None = None,
    keep: Keep = "ends",
    context: Context,
) -> TrainResult:
    """Train a network from its seeded initialisation, or from given weights.

    ``seed`` sets the initialisation and the order of the data; ``init_seed`` and ``order_seed`` set one of them alone.

    Args:
        start: Where to start, instead of the seeded initialisation.
        model: The network.
        data: The data set.
        recipe: How to train; --recipe.epochs=3 changes one part.
        seed: Initialisation and order of the data.
        init_seed: The initialisation alone; like ``seed`` by default.
        order_seed: The order of the data and its augmentation alone; like ``seed`` by default.
        keep: Which snapshots to keep: first and last, one per epoch, or a list such as [0ep, 5ep].
        context: Device, folders, progress and the wish to stop.
    """
    from weightscape.data.loading import load_data
    from weightscape.models.building import build_model
    from weightscape.models.filling import fill_model
    from weightscape.training.run import train_model

    dataset = load_data(data, root=context.data_root, device=context.device)
    network = build_model(
        model, shape=dataset.shape, classes=len(dataset.classes), seed=seed if init_seed is None else init_seed
    )
    if start is not None:
        fill_model(network, start)
    return train_model(
        network,
        dataset,
        recipe=recipe,
        order_seed=seed if order_seed is None else order_seed,
        keep=keep,
        device=context.device,
        resume=context.partial,
        earlier=open_earlier(context.earlier),
        on_epoch=lambda done, total, row: context.progress(done / total, f"epoch {done} of {total}"),
        should_stop=context.should_stop,
    )


@operation("evaluate", version=1)
def evaluate(
    weights: Weights, *, model: Architecture, data: DataSpec, split: Split = "test", context: Context
) -> Evaluation:
    """Measure loss and accuracy of given weights on one split.

    Args:
        weights: What to measure.
        model: The network.
        data: The data set.
        split: Which part of the data set.
        context: Device, folders, progress and the wish to stop.
    """
    from weightscape.data.loading import load_data
    from weightscape.models.building import filled_model
    from weightscape.training.evaluation import evaluate as evaluate_model

    dataset = load_data(data, root=context.data_root, device=context.device)
    network = filled_model(model, weights, shape=dataset.shape, classes=len(dataset.classes))
    return evaluate_model(network, getattr(dataset, split), device=context.device, should_stop=context.should_stop)
