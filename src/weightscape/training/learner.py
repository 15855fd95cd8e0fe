"""What changes from step to step: a private copy of the model, its optimiser, and the totals of the epoch so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from weightscape.devices import device_here
from weightscape.training.layout import memory_format, place, plain_weights, private_copy
from weightscape.training.losses import Criterion
from weightscape.training.microbatches import BatchGradient
from weightscape.training.noise import noise_state, restore_noise, seed_noise
from weightscape.training.optimizers import (
    build_optimizer,
    optimizer_tensors,
    parameter_groups,
    pull_to_start,
    restore_optimizer,
    set_learning_rate,
    set_momentum,
)
from weightscape.training.recipe import Recipe
from weightscape.weights.algebra import Weights, precise_dtype


class Learner:
    """A model that learns by steps of a mean loss on batches.

    Nothing in a step waits for the device: loss and hits are summed there and read once an epoch.

    Args:
        model: Initial weights; copied, never changed. The copy is in training mode, whatever the mode of the model.
        recipe: Its optimiser is built for the parameters that require gradients.
        device: Where to train.

    Raises:
        ModelError: If a loss of the user's own cannot be imported.
        TrainingError: If nothing can be trained, a parameter group is empty, or the loss takes no such argument.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, device: str | torch.device) -> None:
        self.device = device_here(device)
        self.model = private_copy(model, self.device).train()
        self.criterion = Criterion(recipe.loss)
        self._layout = memory_format(model)
        self._optimizer = build_optimizer(recipe.optimizer, parameter_groups(self.model, recipe.optimizer))
        self._gradient = BatchGradient(
            self.model, self.criterion, largest=recipe.micro_batch, save_noise=self._saved_noise
        )
        self._loss = torch.zeros((), dtype=precise_dtype(self.device), device=self.device)
        self._hits = torch.zeros_like(self._loss)
        self._seen = 0

    @property
    def parts(self) -> int:
        """Into how many parts steps are divided because memory did not suffice; 1 as long as it does."""
        return self._gradient.parts

    def begin_epoch(self, order_seed: int, epoch: int) -> None:
        """Forget the totals and put the model's own noise at the start of the epoch's stream."""
        self._loss.zero_()
        self._hits.zero_()
        self._seen = 0
        seed_noise(self.device, order_seed, epoch)

    def set_learning_rate(self, lr: float) -> None:
        """Set the learning rate of the steps that follow."""
        set_learning_rate(self._optimizer, lr)

    def set_momentum(self, momentum: float) -> None:
        """Set the momentum, or the first beta, of the steps that follow."""
        set_momentum(self._optimizer, momentum)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Take one step on a batch.

        Args:
            images: Batch ``(b, c, h, w)``.
            labels: Classes ``(b,)`` int64, or soft or several labels ``(b, k)`` float.

        Raises:
            TrainingError: If memory does not suffice and the batch cannot be divided.
        """
        images = place(images, self.device, self._layout)
        labels = labels.to(self.device, non_blocking=True)
        self._optimizer.zero_grad(set_to_none=True)
        outcome = self._gradient(images, labels)
        pull_to_start(self._optimizer)
        self._optimizer.step()
        with torch.no_grad():
            self._loss += outcome.loss.to(self._loss.dtype) * len(labels)
            self._hits += outcome.hits
        self._seen += len(labels)

    def _saved_noise(self) -> Callable[[], None]:
        state = noise_state(self.device)
        return lambda: restore_noise(self.device, state)

    def loss(self) -> float:
        """Return the mean loss over the samples of the epoch so far, each at the weights that saw it."""
        return self._loss.item() / self._seen

    def accuracy(self) -> float:
        """Return the share of right answers over the samples of the epoch so far, each at the weights that saw it."""
        return self._hits.item() / self._seen

    def weights(self) -> Weights:
        """Return a copy of the model's weights on the CPU, in the ordinary layout."""
        return plain_weights(self.model.state_dict())

    def tensors(self) -> Weights:
        """Return all that :meth:`restore` needs to go on from here as if nothing had happened."""
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"optimizer/{name}": tensor for name, tensor in optimizer_tensors(self._optimizer).items()}
        seen = torch.tensor(self._seen)
        tensors |= {"epoch/loss": self._loss, "epoch/hits": self._hits, "epoch/seen": seen}
        tensors |= {"epoch/parts": torch.tensor(self.parts), "noise/state": noise_state(self.device)}
        return plain_weights(tensors)

    def optimizer_state(self) -> Weights:
        """Return the state of the optimiser alone, on the CPU: what a longer run needs besides the weights."""
        return plain_weights(optimizer_tensors(self._optimizer))

    def continue_from(self, weights: Weights, optimizer_state: Weights) -> None:
        """Go to the end of an epoch of an earlier run: its weights, and its :meth:`optimizer_state` there."""
        self.model.load_state_dict(weights)
        restore_optimizer(self._optimizer, optimizer_state)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo :meth:`tensors`."""
        parts: dict[str, Weights] = {"model": {}, "optimizer": {}, "epoch": {}, "noise": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor
        self.model.load_state_dict(parts["model"])
        restore_optimizer(self._optimizer, parts["optimizer"])
        self._loss.copy_(parts["epoch"]["loss"])
        self._hits.copy_(parts["epoch"]["hits"])
        self._seen = int(parts["epoch"]["seen"])
        self._gradient.parts = int(parts["epoch"].get("parts", 1))
        restore_noise(self.device, parts["noise"]["state"])
