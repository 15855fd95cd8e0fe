"""Many networks of one architecture that learn together: stacked tensors, one call of each kernel for all of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from weightscape.devices import device_here
from weightscape.errors import DataError
from weightscape.training.evaluation import evaluation_of
from weightscape.training.layout import plain_weights
from weightscape.training.losses import Criterion, check_logits
from weightscape.training.population_optimizers import build_stacked_optimizer
from weightscape.training.recipe import Recipe
from weightscape.training.result import Evaluation
from weightscape.weights.algebra import Weights, precise_dtype
from weightscape.weights.modes import evaluation_mode

if TYPE_CHECKING:
    from weightscape.data.dataset import Split


class StackedLearner:
    """Networks that take their steps of mean cross-entropy at the same time, each on its own batch.

    A stacked tensor has a leading axis of members. The losses are summed for one backward pass: the derivative of a
    member's loss with respect to another member's weights is zero, so that each gets its own gradient, also when
    another's loss is not finite.

    Args:
        models: Initial weights of one architecture; copied, never changed.
        recipes: One for each member; the optimisers are of one kind.
        device: Where to train.
    """

    def __init__(self, models: Sequence[nn.Module], recipes: Sequence[Recipe], device: str | torch.device) -> None:
        self.device = device_here(device)
        self._template = copy.deepcopy(models[0]).to(self.device).train()
        self._criterion = Criterion(recipes[0].loss)
        self._parameters = _stacked([dict(model.named_parameters()) for model in models], self.device)
        self._buffers = _stacked([dict(model.named_buffers()) for model in models], self.device)
        self._trained = [name for name, parameter in models[0].named_parameters() if parameter.requires_grad]
        self._sources = _sources(models[0])
        for name in self._trained:
            self._parameters[name].requires_grad_()
        self._optimizer = build_stacked_optimizer([recipe.optimizer for recipe in recipes], self._trained_parameters())
        self._lr = torch.zeros(len(models), device=self.device)
        self._loss = torch.zeros(len(models), dtype=precise_dtype(self.device), device=self.device)
        self._hits = torch.zeros_like(self._loss)
        self._seen = 0

    def __len__(self) -> int:
        return len(self._loss)

    def _trained_parameters(self) -> Weights:
        return {name: self._parameters[name] for name in self._trained}

    def begin_epoch(self) -> None:
        """Forget the totals."""
        self._loss.zero_()
        self._hits.zero_()
        self._seen = 0

    def set_learning_rates(self, rates: Sequence[float]) -> None:
        """Set the learning rate of each member for the steps that follow."""
        dtype = self._parameters[self._trained[0]].dtype if self._trained else None
        self._lr = torch.tensor(rates, dtype=dtype).to(self.device, non_blocking=True)  # nothing in a step waits

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Take one step, each member on its own batch.

        Args:
            images: Batches ``(members, b, c, h, w)``.
            labels: Classes ``(members, b)``, or soft or several labels ``(members, b, k)``.
        """
        images, labels = (tensor.to(self.device, non_blocking=True) for tensor in (images, labels))
        losses, hits = vmap(self._measure, randomness="error")(self._parameters, self._buffers, images, labels)
        if self._trained:
            trained = self._trained_parameters()
            gradients = torch.autograd.grad(losses.sum(), list(trained.values()), allow_unused=True)
            self._optimizer.update(dict(zip(trained, gradients, strict=True)), self._lr)
        count = labels.shape[1]
        self._loss += losses.detach().to(self._loss.dtype) * count
        self._hits += hits
        self._seen += count

    def _measure(self, parameters: Weights, buffers: Weights, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = functional_call(self._template, (parameters, buffers), (images,))
        hits = self._criterion.hits(logits, labels)
        return self._criterion.training_loss(logits, labels), hits.to(self._hits.dtype).sum()

    @torch.no_grad()
    def evaluate(self, split: Split, *, batch_size: int) -> list[Evaluation]:
        """Measure each member on a split, with running statistics, without augmentation and label smoothing.

        Raises:
            DataError: If the split is empty, or has labels that the members have no logits for.
        """
        if not len(split):
            raise DataError("Expected at least one image to evaluate on, received an empty split.")
        totals = torch.zeros(3, len(self), dtype=self._loss.dtype, device=self.device)
        measure = vmap(self._evaluate, in_dims=(0, 0, None, None), out_dims=1)
        with evaluation_mode(self._template):
            for images, labels in split.batches(batch_size):
                images, labels = (tensor.to(self.device, non_blocking=True) for tensor in (images, labels))
                totals += measure(self._parameters, self._buffers, images, labels)
        several = split.labels.is_floating_point()
        return [evaluation_of(*member, count=len(split), several=several) for member in totals.T.tolist()]

    def _evaluate(self, parameters: Weights, buffers: Weights, images: Tensor, labels: Tensor) -> Tensor:
        """Return loss, right answers and their squares, each summed over a batch ``(3,)``."""
        logits = functional_call(self._template, (parameters, buffers), (images,))
        check_logits(logits, labels)
        hits = self._criterion.hits(logits, labels).to(self._loss.dtype)
        loss = self._criterion.evaluation_loss(logits, labels).to(self._loss.dtype)
        return torch.stack([loss, hits.sum(), hits.square().sum()])

    def losses(self) -> list[float]:
        """Return each member's mean loss over the samples of the epoch so far, each at the weights that saw it."""
        return [total / self._seen for total in self._loss.tolist()]

    def accuracies(self) -> list[float]:
        """Return each member's share of hits over the samples of the epoch so far."""
        return [hits / self._seen for hits in self._hits.tolist()]

    def weights(self, position: int) -> Weights:
        """Return a copy of the weights of one member on the CPU, as its state dict has them."""
        stacked = {**self._parameters, **self._buffers}
        return plain_weights({name: stacked[source][position] for name, source in self._sources.items()})

    def keep(self, positions: Iterable[int]) -> None:
        """Go on with the members at these positions alone."""
        rows = torch.tensor(list(positions), dtype=torch.int64, device=self.device)
        self._parameters = {name: tensor.detach()[rows] for name, tensor in self._parameters.items()}
        self._buffers = {name: tensor[rows] for name, tensor in self._buffers.items()}
        for name in self._trained:
            self._parameters[name].requires_grad_()
        self._optimizer.select(self._trained_parameters(), rows)
        self._lr, self._loss, self._hits = (tensor[rows] for tensor in (self._lr, self._loss, self._hits))

    def tensors(self) -> Weights:
        """Return all that :meth:`restore` needs to go on from here as if nothing had happened."""
        tensors = {f"parameters/{name}": tensor for name, tensor in self._parameters.items()}
        tensors |= {f"buffers/{name}": tensor for name, tensor in self._buffers.items()}
        tensors |= {f"optimizer/{name}": tensor for name, tensor in self._optimizer.tensors().items()}
        tensors |= {"epoch/loss": self._loss, "epoch/hits": self._hits, "epoch/seen": torch.tensor(self._seen)}
        return plain_weights(tensors)

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo :meth:`tensors`, on a learner of the same members."""
        parts: dict[str, Weights] = {"parameters": {}, "buffers": {}, "optimizer": {}, "epoch": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor
        for mine, saved in ((self._parameters, parts["parameters"]), (self._buffers, parts["buffers"])):
            for name, tensor in mine.items():
                tensor.copy_(saved[name])
        self._optimizer.restore(parts["optimizer"])
        self._loss.copy_(parts["epoch"]["loss"])
        self._hits.copy_(parts["epoch"]["hits"])
        self._seen = int(parts["epoch"]["seen"])


def _stacked(members: Sequence[Mapping[str, Tensor]], device: torch.device) -> Weights:
    return {name: torch.stack([member[name].detach().to(device) for member in members]) for name in members[0]}


def _sources(model: nn.Module) -> dict[str, str]:
    """Return, for each name of the state dict, the name under which a tensor that several names share is stacked."""
    first = {
        id(tensor): name for tensors in (model.named_parameters(), model.named_buffers()) for name, tensor in tensors
    }
    return {name: first[id(tensor)] for name, tensor in model.state_dict(keep_vars=True).items()}
