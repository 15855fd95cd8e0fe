"""How a network is trained. Loads no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from weightscape.step import Step


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Decay: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


class Sgd(_Settings):
    """Stochastic gradient descent with momentum, as in ``torch.optim.SGD``."""

    name: Literal["sgd"]
    lr: PositiveFloat = 0.1
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Sgd:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Adam(_Settings):
    """Adam with L2 regularisation, as in ``torch.optim.Adam``."""

    name: Literal["adam"]
    lr: PositiveFloat = 1e-3
    betas: tuple[_Decay, _Decay] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0


class Constant(_Settings):
    """The learning rate of the optimiser, throughout."""

    name: Literal["constant"]


class Cosine(_Settings):
    """``lr * (1 + cos(pi * e / E)) / 2`` during epoch e = 0, 1, ... of E (SGDR without restarts, arXiv 1608.03983)."""

    name: Literal["cosine"]


class MultiStep(_Settings):
    """The learning rate is multiplied by `factor` at the start of each epoch in `milestones`, counted from 0."""

    name: Literal["multistep"]
    milestones: tuple[PositiveInt, ...]
    factor: PositiveFloat = 0.1


def _from_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Optimizer: TypeAlias = Annotated[Annotated[Sgd | Adam, Field(discriminator="name")], BeforeValidator(_from_name)]
Schedule: TypeAlias = Annotated[
    Annotated[Constant | Cosine | MultiStep, Field(discriminator="name")], BeforeValidator(_from_name)
]


class Recipe(_Settings):
    """Everything about a training run but the model, the data and the seeds.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Images per step; the last, smaller batch of an epoch is used too.
        optimizer: Update rule.
        schedule: Learning rate by epoch.
    """

    epochs: NonNegativeInt = 10
    batch_size: PositiveInt = 128
    optimizer: Optimizer = Sgd(name="sgd")
    schedule: Schedule = Constant(name="constant")


Keep: TypeAlias = Literal["ends", "epochs"] | tuple[Step, ...]
"""Which snapshots of a run are kept: both ends, every epoch (with initialisation), or the listed steps."""
