"""Measure weights on one set of samples, after a batch-norm policy."""

from __future__ import annotations

from torch import nn

from weightscape.batches import BatchSource, Forward, Loss, as_batches
from weightscape.landscape.scores import Scores, comparable, score
from weightscape.landscape.settings import BatchNorm
from weightscape.training.evaluation import device_of
from weightscape.training.layout import private_copy
from weightscape.weights.algebra import Weights
from weightscape.weights.batch_norm import batch_norms, recalibrate


class Gauge:
    """Measures weights on the same samples, after the batch-norm policy, on a private copy of the network.

    Args:
        model: Template; never changed.
        batches: What is measured on.
        bn: Batch-norm policy.
        statistics: Batches that running statistics are computed on; those measured on by default.
        loss: Loss per sample; the cross-entropy by default.
        forward: ``forward(model, batch)`` runs the network; by default it is called with the inputs.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: BatchSource,
        *,
        bn: BatchNorm,
        statistics: BatchSource | None = None,
        loss: Loss | None = None,
        forward: Forward | None = None,
    ) -> None:
        self._model = private_copy(model, device_of(model))
        self._batches, self._loss = comparable(batches, forward), loss
        self._statistics = (
            self._batches if statistics is None else as_batches(statistics, forward=forward, passes="many")
        )
        self._recalibrates = bn == "recalibrate" and bool(batch_norms(self._model))

    def as_given(self, weights: Weights) -> Scores:
        """Return the scores of weights with the statistics that they come with."""
        self._model.load_state_dict(weights)
        return score(self._model, self._batches, self._loss)

    def after_policy(self, weights: Weights) -> Scores:
        """Return the scores of weights after the batch-norm policy."""
        self._model.load_state_dict(weights)
        if self._recalibrates:
            recalibrate(self._model, self._statistics)
        return score(self._model, self._batches, self._loss)

    @property
    def policy_matters(self) -> bool:
        """Whether scores as given and after the policy can differ."""
        return self._recalibrates
