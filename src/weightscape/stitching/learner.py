"""A stitch that learns by steps; of the back network only what comes after it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightscape.errors import TrainingError
from weightscape.models.stitches import Stitch, matrix_of
from weightscape.stitching.features import Site
from weightscape.stitching.pair import Features, Wanted, sides_of
from weightscape.stitching.penalties import batch_cka, mean_magnitude
from weightscape.stitching.settings import StitchSpec
from weightscape.stitching.targets import needs_back, needs_front, target_loss
from weightscape.training.divergence import diverged
from weightscape.training.layout import plain_weights
from weightscape.training.optimizers import (
    build_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_learning_rate,
    set_momentum,
)
from weightscape.training.schedules import Rates
from weightscape.weights.algebra import Weights, precise_dtype

_SUMS = ("loss", "target_loss", "l1", "cka")


def wanted_by(spec: StitchSpec, site: Site) -> Wanted:
    """Return what the training of a stitch needs of each batch."""
    return Wanted(
        front_layers=(site.front_layer,),
        back_layers=(site.back_layer,) if spec.cka_reg else (),
        sides=(site.back_layer,),
        front_logits=needs_front(spec.target),
        back_logits=needs_back(spec.target),
    )


@dataclass(frozen=True)
class Means:
    """Means over the steps of an epoch so far, each at the stitch that the step began with.

    Attributes:
        loss: What was minimised.
        target_loss: The part that is about answers.
        penalty: The rest.
        batch_cka: CKA of the batches; None where the loss has none.
    """

    loss: float
    target_loss: float
    penalty: float
    batch_cka: float | None


class StitchLearner:
    """A stitch, its optimiser, and the totals of the epoch so far.

    Nothing in a step waits for the device.

    Args:
        spec: How to train.
        site: Between which layers.
        stitch: Where it begins; trained in place.
        tail: The frozen back network from the stitch on.
        mask: True where an entry of the matrix may differ from 0; None where all may.
        several: Whether images have several labels each.
        device: Where to train.
    """

    def __init__(
        self,
        spec: StitchSpec,
        site: Site,
        stitch: Stitch,
        tail: nn.Module,
        *,
        mask: Tensor | None,
        several: bool,
        device: torch.device,
    ) -> None:
        self.spec = spec
        self._site = site
        self.stitch = stitch.to(device).requires_grad_()
        self._tail = tail
        self._mask = None if mask is None else mask.to(device)
        self._several = several
        self._optimizer = build_optimizer(spec.recipe.optimizer, self.stitch.parameters())
        self._totals = torch.zeros(len(_SUMS), dtype=precise_dtype(device), device=device)
        self._steps = 0

    def begin_epoch(self) -> None:
        """Forget the totals."""
        self._totals.zero_()
        self._steps = 0

    def set_rates(self, rates: Rates) -> None:
        """Set the learning rate, and the momentum where the schedule moves it, of the steps that follow."""
        set_learning_rate(self._optimizer, rates.lr)
        if rates.momentum is not None:
            set_momentum(self._optimizer, rates.momentum)

    def step(self, features: Features) -> None:
        """Take one step on what the networks make of a batch."""
        spec, site = self.spec, self._site
        self._optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            activation = self.stitch(features[f"front/{site.front_layer}"])
            logits = self._tail(activation, *sides_of(features, site.back_layer))
            target = target_loss(
                spec.target,
                logits,
                labels=features["labels"],
                front=features.get("front_logits"),
                back=features.get("back_logits"),
                temperature=spec.temperature,
                several=self._several,
            )
            parts = {"target_loss": target}
            loss = target
            if spec.l1:
                parts["l1"] = mean_magnitude(matrix_of(self.stitch))
                loss = loss + spec.l1 * parts["l1"]
            if spec.cka_reg:
                parts["cka"] = batch_cka(features[f"back/{site.back_layer}"], activation)
                loss = loss + spec.cka_reg * parts["cka"]
            loss.backward()  # type: ignore[no-untyped-call]
        if self._mask is not None:
            gradient = matrix_of(self.stitch).grad
            assert gradient is not None
            gradient.mul_(self._mask)  # what is 0 stays exactly 0: neither rule moves what has no gradient
        self._optimizer.step()
        zero = target.detach().new_zeros(())
        parts["loss"] = loss
        self._totals += torch.stack([parts.get(name, zero).detach() for name in _SUMS])
        self._steps += 1

    def means(self) -> Means:
        """Return the means of the epoch so far; the device is waited for."""
        loss, target, _, cka = (total / self._steps for total in self._totals.tolist())
        return Means(loss, target, loss - target, cka if self.spec.cka_reg else None)

    def check(self, *, epoch: int, lr: float) -> None:
        """Stop a run that diverged.

        Raises:
            TrainingError: If the loss is not finite.
        """
        if not bool(self._totals.isfinite().all()):
            loss = float(self._totals[0])
            raise TrainingError(diverged(loss, "training", epoch=epoch, epochs=self.spec.epochs, lr=lr))

    def tensors(self) -> Weights:
        """Return copies of all that :meth:`restore` needs to go on from here as if nothing had happened."""
        tensors = {f"stitch/{name}": tensor for name, tensor in self.stitch.state_dict().items()}
        tensors |= {f"optimizer/{name}": tensor for name, tensor in optimizer_tensors(self._optimizer).items()}
        tensors |= {"epoch/totals": self._totals, "epoch/steps": torch.tensor(self._steps)}
        return plain_weights(tensors)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo :meth:`tensors`."""
        parts: dict[str, Weights] = {"stitch": {}, "optimizer": {}, "epoch": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor
        self.stitch.load_state_dict(parts["stitch"])
        restore_optimizer(self._optimizer, parts["optimizer"])
        self._totals.copy_(parts["epoch"]["totals"])
        self._steps = int(parts["epoch"]["steps"])
