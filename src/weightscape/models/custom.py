"""Networks of the user's own, named by a dotted path."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from weightscape.errors import ModelError, did_you_mean
from weightscape.models.foreign import Custom
from weightscape.source import import_dotted
from weightscape.weights.modes import evaluation_mode


def build_custom(settings: Custom, *, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Call the user's class or function and check that what it returns is a classifier of such inputs.

    ``classes`` and ``shape`` are passed when the callable has parameters of these names and the settings do not give
    them.

    Raises:
        ModelError: If the callable does not accept the arguments, fails, or returns anything else than a module that
            maps ``(n, C, H, W)`` to ``(n, classes)``.
    """
    function = import_dotted(settings.name)
    arguments = _arguments(function, settings, {"shape": shape, "classes": classes})
    try:
        model = function(**arguments)
    except Exception as error:
        raise ModelError(f"{settings.name} failed with the arguments {arguments}: {error!r}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{settings.name} should return a torch.nn.Module, it returned {type(model).__name__}.")
    check_output(model, settings.name, shape=shape, classes=classes)
    return model


def _arguments(function: Callable[..., Any], settings: Custom, offered: dict[str, Any]) -> dict[str, Any]:
    if not callable(function):
        raise ModelError(f"{settings.name} should be a class or a function, it is {function!r}.")
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # some classes written in C have no signature
        return settings.arguments
    named = {
        name
        for name, parameter in parameters.items()
        if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
    }
    if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
        for name in settings.arguments.keys() - named:
            raise ModelError(f"{settings.name} takes no argument {name!r}. {did_you_mean(name, named)}")
    return {name: value for name, value in offered.items() if name in named} | settings.arguments


@torch.no_grad()
def check_output(model: nn.Module, name: str, *, shape: tuple[int, int, int], classes: int) -> None:
    """Check that a network maps two empty images to two rows of logits.

    Raises:
        ModelError: If it cannot take them, or returns something else.
    """
    try:
        with evaluation_mode(model):
            output = model(torch.zeros(2, *shape))
    except Exception as error:
        raise ModelError(f"{name} cannot take inputs of shape (2, {', '.join(map(str, shape))}): {error!r}") from error
    received = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if received != (2, classes):
        raise ModelError(f"{name} should map 2 inputs to logits of shape (2, {classes}), it returned {received}.")
