"""Accuracy and loss of points of a trajectory, after the batch-norm policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from weightscape.training.evaluation import evaluate
from weightscape.training.layout import memory_format, place, plain_weights, private_copy
from weightscape.transfer.batches import BatchStream
from weightscape.transfer.settings import BatchNorm
from weightscape.weights.algebra import Weights
from weightscape.weights.batch_norm import batch_norms, recalibrate

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset


class Evaluator:
    """Loads weights into a private copy of the model, lets batch norms settle and measures.

    Args:
        model: Template; never changed.
        dataset: Its validation and test splits are evaluated in full, its training split recalibrates.
        policy: ``recalibrate`` replaces running statistics by those of training batches before each evaluation;
            ``none`` takes the statistics that come with the weights.
        batches: Source of the training batches.
        batch_norm_batches: How many of them.
        device: Where to evaluate.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        *,
        policy: BatchNorm,
        batches: BatchStream,
        batch_norm_batches: int,
        device: str | torch.device = "cpu",
    ) -> None:
        self._model = private_copy(model, device)
        self._layout = memory_format(model)
        self._device = torch.device(device)
        self.dataset = dataset
        self._batches = batches
        self._count = batch_norm_batches if policy == "recalibrate" and batch_norms(self._model) else 0

    def accuracies(self, weights: Weights) -> dict[str, float]:
        """Return accuracy and loss on the validation and the test split."""
        self._load(weights)
        found: dict[str, float] = {}
        for name in ("validation", "test"):
            measured = evaluate(self._model, getattr(self.dataset, name))
            found |= {f"{name}_accuracy": measured.accuracy, f"{name}_loss": measured.loss}
        return found

    def settled(self, weights: Weights) -> Weights:
        """Return all weights as they are evaluated: with the running statistics of the policy. On the CPU."""
        self._load(weights)
        return plain_weights(self._model.state_dict())

    def _load(self, weights: Weights) -> None:
        self._model.load_state_dict(weights)
        if self._count:
            images = self._batches.batch_norm(self._count)
            recalibrate(self._model, (place(batch, self._device, self._layout) for batch in images))
