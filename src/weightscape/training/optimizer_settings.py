"""Update rules, and groups of parameters with rates and decay of their own. Loads no torch."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, field_validator, model_validator

from weightscape.training.settings import Settings, from_name

_Decay: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


class ParameterGroup(Settings):
    """Parameters with a learning rate or a weight decay of their own.

    A parameter belongs to the first group that names it, by kind or by name; what no group names follows the optimiser.

    Attributes:
        kinds: ``bias`` is every parameter called bias, ``norm`` every parameter of a normalisation layer.
        names: Regular expression that is searched in the parameter's name, e.g. ``^head`` or ``bias|scale``.
        lr_factor: Factor on the learning rate of the optimiser and its schedule; 0 keeps the parameters as they are.
        weight_decay: Instead of that of the optimiser; the same by default.
        decay_towards: ``start`` pulls towards the weights at which the run begins instead of towards 0 (L2-SP,
            arXiv 1802.01483).
    """

    kinds: tuple[Literal["bias", "norm"], ...] = ()
    names: str | None = None
    lr_factor: NonNegativeFloat = 1.0
    weight_decay: NonNegativeFloat | None = None
    decay_towards: Literal["zero", "start"] = "zero"

    @field_validator("names")
    @classmethod
    def _is_an_expression(cls, names: str | None) -> str | None:
        try:
            re.compile(names or "")
        except re.error as error:
            raise ValueError(f"expected a regular expression, received {names!r}. It is wrong: {error}") from None
        return names

    @model_validator(mode="after")
    def _names_something(self) -> ParameterGroup:
        if not self.kinds and not self.names:
            raise ValueError("a group needs 'kinds' (bias, norm) or 'names' (a regular expression)")
        return self


class Sgd(Settings):
    """Stochastic gradient descent with momentum, as in ``torch.optim.SGD``."""

    name: Literal["sgd"]
    lr: PositiveFloat = 0.1
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 0.0
    groups: tuple[ParameterGroup, ...] = ()

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Sgd:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Adam(Settings):
    """Adam with L2 regularisation, as in ``torch.optim.Adam``."""

    name: Literal["adam"]
    lr: PositiveFloat = 1e-3
    betas: tuple[_Decay, _Decay] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0
    groups: tuple[ParameterGroup, ...] = ()


class AdamW(Settings):
    """Adam with decoupled weight decay, as in ``torch.optim.AdamW`` (arXiv 1711.05101)."""

    name: Literal["adamw"]
    lr: PositiveFloat = 1e-3
    betas: tuple[_Decay, _Decay] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.01
    groups: tuple[ParameterGroup, ...] = ()


Optimizer: TypeAlias = Annotated[Annotated[Sgd | Adam | AdamW, Field(discriminator="name")], BeforeValidator(from_name)]
