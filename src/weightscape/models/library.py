"""Networks of timm and torchvision, where they are installed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from weightscape.errors import ModelError, did_you_mean
from weightscape.models.custom import check_output
from weightscape.models.foreign import Library
from weightscape.source import import_library


def build_library(settings: Library, *, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build a network by its name in a library, for inputs of this shape, without pretrained weights.

    Raises:
        ModelError: If the library is not installed or does not work with this PyTorch, knows no such name, or its
            network does not accept the arguments or such inputs.
    """
    name = settings.name.partition(":")[2]
    build = _timm if settings.library == "timm" else _torchvision
    module = import_library(settings.library, wanted_by=settings.name)
    model = build(module, name, settings, channels=shape[0], classes=classes)
    check_output(model, settings.name, shape=shape, classes=classes)
    return model


def _timm(module: Any, name: str, settings: Library, *, channels: int, classes: int) -> nn.Module:
    arguments = {"num_classes": classes, "in_chans": channels} | settings.arguments
    if not module.is_model(name):
        raise ModelError(_unknown(settings, name, module.list_models()))
    return _called(settings, module.create_model, name, arguments)


def _torchvision(module: Any, name: str, settings: Library, *, channels: int, classes: int) -> nn.Module:
    if channels != 3:
        raise ModelError(f"{settings.name} takes images of 3 channels, received {channels}. timm's networks take any.")
    known = module.models.list_models(module=module.models)
    if name not in known:
        raise ModelError(_unknown(settings, name, known))
    return _called(settings, module.models.get_model, name, {"num_classes": classes} | settings.arguments)


def _called(settings: Library, function: Any, name: str, arguments: dict[str, Any]) -> nn.Module:
    try:
        model: nn.Module = function(name, **arguments)
    except Exception as error:  # foreign code: whatever it raises is its user's to read
        raise ModelError(f"{settings.name} failed with the arguments {arguments}: {error!r}") from error
    return model


def _unknown(settings: Library, name: str, known: Iterable[str]) -> str:
    close = did_you_mean(name, known)
    hint = close if close.startswith("Did") else f"See {settings.library}'s list_models()."
    return f"{settings.library} has no image classifier named {name!r}. {hint}"
