"""What changes from step to step: a private copy of the model, its optimiser, and the totals of the epoch so far."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightscape.training.layout import memory_format, place, plain_weights, private_copy
from weightscape.training.noise import noise_state, restore_noise, seed_noise
from weightscape.training.optimizers import build_optimizer, optimizer_tensors, restore_optimizer, set_learning_rate
from weightscape.training.recipe import Recipe
from weightscape.weights.algebra import Weights, precise_dtype


class Learner:
    """A model that learns by steps of mean cross-entropy on batches.

    Nothing in a step waits for the device: loss and hits are summed there and read once an epoch.

    Args:
        model: Initial weights; copied, never changed.
        recipe: Its optimiser is built for the parameters that require gradients.
        device: Where to train.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, device: str | torch.device) -> None:
        self.device = torch.device(device)
        self.model = private_copy(model, self.device)
        self._layout = memory_format(model)
        self._optimizer = build_optimizer(recipe.optimizer, self.model.parameters())
        self._loss = torch.zeros((), dtype=precise_dtype(self.device), device=self.device)
        self._hits = torch.zeros((), dtype=torch.int64, device=self.device)
        self._seen = 0

    def begin_epoch(self, order_seed: int, epoch: int) -> None:
        """Forget the totals and put the model's own noise at the start of the epoch's stream."""
        self._loss.zero_()
        self._hits.zero_()
        self._seen = 0
        seed_noise(self.device, order_seed, epoch)

    def set_learning_rate(self, lr: float) -> None:
        """Set the learning rate of the steps that follow."""
        set_learning_rate(self._optimizer, lr)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Take one step on a batch of images ``(b, c, h, w)`` with labels ``(b,)``."""
        images = place(images, self.device, self._layout)
        labels = labels.to(self.device, non_blocking=True)
        self._optimizer.zero_grad(set_to_none=True)
        logits = self.model(images)
        loss = functional.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        with torch.no_grad():
            self._loss += loss.to(self._loss.dtype) * len(labels)
            self._hits += (logits.argmax(1) == labels).sum()
        self._seen += len(labels)

    def loss(self) -> float:
        """Return the mean loss over the samples of the epoch so far, each at the weights that saw it."""
        return self._loss.item() / self._seen

    def accuracy(self) -> float:
        """Return the share of hits over the samples of the epoch so far, each at the weights that saw it."""
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
        tensors["noise/state"] = noise_state(self.device)
        return plain_weights(tensors)

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
        restore_noise(self.device, parts["noise"]["state"])
