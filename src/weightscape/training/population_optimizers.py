"""Update rules for many networks at once: each member has its own learning rate, momentum and weight decay.

The rules are those of ``torch.optim``, on tensors with a leading axis of members. The optimisers of torch take one
scalar for all of a tensor and cannot be used.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from weightscape.errors import TrainingError
from weightscape.training.recipe import Adam, AdamW, Sgd
from weightscape.weights.algebra import Weights

_ADAM_EPSILON = 1e-8


def build_stacked_optimizer(
    settings: Sequence[Sgd | Adam | AdamW], parameters: Mapping[str, Tensor]
) -> StackedOptimizer:
    """Return the update rule of a population.

    Args:
        settings: Optimiser of each member: all of one kind, and all with or all without Nesterov's momentum.
        parameters: The parameters that are trained, stacked ``(members, ...)``.

    Raises:
        TrainingError: If the members have optimisers of different kinds.
    """
    sgd = [one for one in settings if isinstance(one, Sgd)]
    adam = [one for one in settings if isinstance(one, Adam | AdamW)]
    names = sorted({one.name for one in settings})
    if len(names) > 1:
        raise TrainingError(f"Expected one kind of optimiser in a stack, received {' and '.join(names)}.")
    return _StackedSgd(parameters, sgd) if sgd else _StackedAdam(parameters, adam)


class StackedOptimizer(ABC):
    """An update rule and its state for stacked parameters.

    Args:
        parameters: The parameters by name; updated in place.
        values: Settings that differ from member to member, by name.
        states: Names of the tensors that are kept for each parameter.
    """

    def __init__(
        self, parameters: Mapping[str, Tensor], *, values: Mapping[str, Sequence[float]], states: Sequence[str]
    ) -> None:
        first = next(iter(parameters.values()))
        self._parameters = dict(parameters)
        self._values = {
            name: torch.tensor(numbers, dtype=first.dtype, device=first.device) for name, numbers in values.items()
        }
        self._states = {
            name: {state: torch.zeros_like(parameter) for state in states} for name, parameter in parameters.items()
        }
        self._steps = 0

    @torch.no_grad()
    def update(self, gradients: Mapping[str, Tensor | None], lr: Tensor) -> None:
        """Take one step.

        Args:
            gradients: Gradients ``(members, ...)`` by name, used up; None for a parameter that the loss does not reach,
                which stays as it is.
            lr: Learning rates ``(members,)``.
        """
        self._steps += 1
        numbers = self._numbers(lr)
        for name, gradient in gradients.items():
            if gradient is not None:
                self._update(self._parameters[name], gradient, self._states[name], numbers)

    def tensors(self) -> Weights:
        """Return the state by name."""
        named = {f"{state}/{name}": tensor for name, states in self._states.items() for state, tensor in states.items()}
        return {"steps": torch.tensor(self._steps), **named}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo :meth:`tensors`."""
        self._steps = int(tensors["steps"])
        for name, states in self._states.items():
            for state, tensor in states.items():
                tensor.copy_(tensors[f"{state}/{name}"])

    def select(self, parameters: Mapping[str, Tensor], rows: Tensor) -> None:
        """Go on with some members: their `parameters`, and `rows` ``(m,)`` of all else."""
        self._parameters = dict(parameters)
        self._values = {name: numbers[rows] for name, numbers in self._values.items()}
        self._states = {
            name: {state: tensor[rows] for state, tensor in states.items()} for name, states in self._states.items()
        }

    def _numbers(self, lr: Tensor) -> Weights:
        """Return what a step needs of each member ``(members,)``, the same for all parameters."""
        return {**self._values, "lr": lr}

    @abstractmethod
    def _update(self, parameter: Tensor, gradient: Tensor, states: Weights, numbers: Weights) -> None: ...


class _StackedSgd(StackedOptimizer):
    """``v = m v + g + d w``, ``w -= lr v``, as ``torch.optim.SGD`` without dampening."""

    def __init__(self, parameters: Mapping[str, Tensor], settings: Sequence[Sgd]) -> None:
        values = {name: [getattr(one, name) for one in settings] for name in ("momentum", "weight_decay")}
        self._decays, self._moves = any(values["weight_decay"]), any(values["momentum"])
        self._nesterov = settings[0].nesterov
        super().__init__(parameters, values=values, states=["momentum"] if self._moves else [])

    def _update(self, parameter: Tensor, gradient: Tensor, states: Weights, numbers: Weights) -> None:
        if self._decays:
            gradient.addcmul_(_column(numbers["weight_decay"], parameter), parameter)
        if self._moves:
            momentum = _column(numbers["momentum"], parameter)
            velocity = states["momentum"].mul_(momentum).add_(gradient)
            gradient = gradient.addcmul_(momentum, velocity) if self._nesterov else velocity
        parameter.addcmul_(_column(numbers["lr"], parameter), gradient, value=-1)


class _StackedAdam(StackedOptimizer):
    """Adam with L2 regularisation (arXiv 1412.6980) or decoupled weight decay (arXiv 1711.05101), as in torch."""

    def __init__(self, parameters: Mapping[str, Tensor], settings: Sequence[Adam | AdamW]) -> None:
        values = {
            "weight_decay": [one.weight_decay for one in settings],
            "beta2": [one.betas[1] for one in settings],
        }
        for index in (0, 1):
            betas = [one.betas[index] for one in settings]
            # In float32 a difference such as 1 - 0.999 ** 2 keeps four digits: it is taken here, or as an exponential.
            values[f"rest{index + 1}"] = [1 - beta for beta in betas]
            values[f"log{index + 1}"] = [math.log(beta) if beta else -math.inf for beta in betas]
        self._decays = any(values["weight_decay"])
        self._decoupled = settings[0].name == "adamw"
        super().__init__(parameters, values=values, states=["first", "second"])

    def _numbers(self, lr: Tensor) -> Weights:
        first, second = (-(self._steps * self._values[name]).expm1() for name in ("log1", "log2"))
        shrink = 1 - lr * self._values["weight_decay"]
        return {**self._values, "shrink": shrink, "length": lr / first, "scale": second.sqrt()}

    def _update(self, parameter: Tensor, gradient: Tensor, states: Weights, numbers: Weights) -> None:
        column = {name: _column(values, parameter) for name, values in numbers.items()}
        if self._decays and self._decoupled:
            parameter.mul_(column["shrink"])
        elif self._decays:
            gradient.addcmul_(column["weight_decay"], parameter)
        first = states["first"].lerp_(gradient, column["rest1"])
        second = states["second"].mul_(column["beta2"]).addcmul_(gradient * column["rest2"], gradient)
        divisor = (second.sqrt() / column["scale"]).add_(_ADAM_EPSILON)
        parameter.addcmul_(column["length"], first / divisor, value=-1)


def _column(values: Tensor, like: Tensor) -> Tensor:
    """Return one value per member ``(members,)`` in a shape that multiplies a stacked tensor."""
    return values.view(-1, *[1] * (like.ndim - 1))
