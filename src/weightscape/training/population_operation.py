"""How the operation ``train`` computes several tasks as one population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from weightscape.data.loading import load_data
from weightscape.errors import TrainingError
from weightscape.models.building import build_model
from weightscape.models.filling import fill_model
from weightscape.operation import Context
from weightscape.together import Publish
from weightscape.training.population import train_population
from weightscape.training.result import TrainResult


def train_together(calls: Sequence[Mapping[str, Any]], *, context: Context, publish: Publish) -> None:
    """Train the networks of several tasks that differ in seeds and numbers alone (``training.operations.train``).

    Args:
        calls: Inputs and settings of each task; model, data and kept steps are those of the first.
        context: Device, folders, progress, the wish to stop, and whether to make a stack.
        publish: Called with each result, or the error in its place, and how it came about.
    """
    first = calls[0]
    dataset = load_data(first["data"], root=context.data_root, device=context.device)

    def network(call: Mapping[str, Any]) -> nn.Module:
        seed = call["seed"] if call["init_seed"] is None else call["init_seed"]
        model = build_model(call["model"], shape=dataset.shape, classes=len(dataset.classes), seed=seed)
        if call.get("start") is not None:
            fill_model(model, call["start"])
        return model

    def report(index: int, member: TrainResult | TrainingError, note: str) -> None:
        publish(index, member, note)

    train_population(
        [network(call) for call in calls],
        dataset,
        recipe=[call["recipe"] for call in calls],
        order_seeds=[call["seed"] if call["order_seed"] is None else call["order_seed"] for call in calls],
        keep=first["keep"],
        device=context.device,
        stack=context.stack,
        resume=context.partial,
        on_epoch=lambda done, total: context.progress(
            done / total, f"epoch {done} of {total} of {len(calls)} networks"
        ),
        on_member=report,
        should_stop=context.should_stop,
    )
