"""Build networks and reset their heads, from named random streams."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from weightscape.errors import ModelError
from weightscape.models import families
from weightscape.models.architecture import Architecture, parse_architecture
from weightscape.models.cnn import build_cnn
from weightscape.models.conv import build_conv
from weightscape.models.custom import build_custom
from weightscape.models.cutting import back_of, front_of
from weightscape.models.filling import fill_model
from weightscape.models.fixup import build_fixup
from weightscape.models.inception import build_inception
from weightscape.models.lenet import build_dense, build_lenet
from weightscape.models.library import build_library
from weightscape.models.mlp import build_mlp
from weightscape.models.resnet import build_resnet, build_resnet20
from weightscape.models.stitches import StitchedNetwork, make_stitch
from weightscape.models.tiny import build_tiny10
from weightscape.seeds import seeded

if TYPE_CHECKING:
    from weightscape.weights.algebra import Weights

_BUILDERS: dict[type, Callable[..., nn.Module]] = {
    families.Mlp: build_mlp,
    families.Dense: build_dense,
    families.LeNet: build_lenet,
    families.Cnn: build_cnn,
    families.Conv: build_conv,
    families.ResNet: build_resnet,
    families.ResNet20: build_resnet20,
    families.Fixup: build_fixup,
    families.Tiny10: build_tiny10,
    families.Inception: build_inception,
    families.Library: build_library,
    families.Custom: build_custom,
}


def _build_stitched(settings: families.Stitched, *, shape: tuple[int, int, int], classes: int) -> StitchedNetwork:
    """Build both networks in full and cut them, on the device of the moment."""
    front, back = (
        _BUILDERS[type(one)](one, shape=shape, classes=classes).eval() for one in (settings.front, settings.back)
    )
    example = torch.zeros(2, *shape)
    before = front_of(front, settings.front_layer, example=example, trainable=True)
    after = back_of(back, settings.back_layer, example=example, trainable=True)
    with torch.no_grad():
        given = before(example).shape[1:]
    stitch = make_stitch(given, after.shape, form=settings.form, rank=settings.rank, resize=settings.resize)
    return StitchedNetwork(before, stitch, after)


_BUILDERS[families.Stitched] = _build_stitched


def build_model(
    architecture: Architecture | str | dict[str, Any],
    *,
    shape: tuple[int, int, int],
    classes: int,
    seed: int | None = None,
) -> nn.Module:
    """Build a network on the CPU, initialised as its family says: by PyTorch's defaults unless stated otherwise.

    The same seed gives bit-equal weights; the global generators are neither used nor changed.

    Args:
        architecture: Name, dictionary or settings of the network.
        shape: Channels, height and width of the inputs.
        classes: Number of outputs.
        seed: Seed of the stream ``init``. None stands for a template into which weights will be loaded, and is seed 0.

    Raises:
        ModelError: If the settings are wrong or the network cannot take such inputs.
    """
    if len(shape) != 3 or min(shape) < 1 or classes < 1:
        raise ModelError(
            "Expected inputs of shape (channels, height, width) and at least one class, "
            f"received inputs of shape {shape} and {classes} classes."
        )
    settings = parse_architecture(architecture)
    with torch.device("cpu"), seeded(seed or 0, "init"):
        return _BUILDERS[type(settings)](settings, shape=shape, classes=classes)


def filled_model(
    architecture: Architecture | str | dict[str, Any],
    weights: Weights,
    *,
    shape: tuple[int, int, int],
    classes: int,
    called: str = "",
) -> nn.Module:
    """Build a network and put given weights into it.

    Args:
        architecture: As for :func:`build_model`.
        weights: Its weights.
        shape: As for :func:`build_model`.
        classes: As for :func:`build_model`.
        called: What messages call the network, where there are several.

    Raises:
        ModelError: As :func:`build_model`, or if the weights are of another architecture.
    """
    network = build_model(architecture, shape=shape, classes=classes)
    try:
        fill_model(network, weights)
    except ModelError as error:
        raise ModelError(f"{called}: {error}" if called else str(error)) from error
    return network


def build_on_meta(architecture: Architecture, *, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build a network without memory for its tensors: names and shapes alone.

    Raises:
        ModelError: If the network cannot take such inputs.
    """
    with torch.device("meta"), seeded(0, "init"):
        return _BUILDERS[type(architecture)](architecture, shape=shape, classes=classes)


def find_head(model: nn.Module, *, classes: int | None = None) -> str:
    """Return the name of the layer that yields the classes: the last linear layer or 1x1 convolution.

    Layers are taken in the order in which the model registers them.

    Args:
        model: The network.
        classes: Number of classes; layers with another number of outputs are passed over. Any number by default.

    Raises:
        ModelError: If the model has no such layer.
    """
    candidates = {str(name): _outputs(module) for name, module in model.named_modules()}
    outputs = {name: count for name, count in candidates.items() if count is not None}
    heads = [name for name, count in outputs.items() if classes in {None, count}]
    if heads:
        return heads[-1]
    wanted = "" if classes is None else f" with {classes} outputs"
    found = ", ".join(f"{name} ({count})" for name, count in outputs.items()) or "none"
    raise ModelError(f"Expected a linear layer or 1x1 convolution{wanted} as head; such layers in the model: {found}.")


def _outputs(module: nn.Module) -> int | None:
    """Return the number of outputs of a layer that may be a head, None for other layers."""
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, nn.Conv2d) and set(module.kernel_size) == {1}:
        return module.out_channels
    return None


def reset_head(model: nn.Module, *, seed: int, classes: int | None = None) -> nn.Module:
    """Return a copy of a model whose head is initialised afresh; no other layer changes.

    The new head is the same on every device: it is drawn on the CPU from the stream ``head``.

    Args:
        model: The network; it is not changed.
        seed: Seed of the stream ``head``.
        classes: Number of classes, to tell the head from other layers; see :func:`find_head`.

    Raises:
        ModelError: If there is no head, or its tensors cannot change without changing others.
    """
    name = find_head(model, classes=classes)
    head = model.get_submodule(name)
    _check_own_tensors(model, name)
    fresh = copy.deepcopy(head).cpu()
    with seeded(seed, "head"):
        fresh.reset_parameters()  # type: ignore[operator]
    renewed = copy.deepcopy(model)
    renewed.get_submodule(name).load_state_dict(fresh.state_dict())
    return renewed


def _check_own_tensors(model: nn.Module, head: str) -> None:
    own = {id(parameter) for parameter in model.get_submodule(head).parameters()}
    shared = [
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if id(parameter) in own and not name.startswith(f"{head}.")
    ]
    if head and shared:
        raise ModelError(f"The head {head!r} shares its tensors with {', '.join(shared)}, which would change too.")
    if nn.utils.parametrize.is_parametrized(model.get_submodule(head)):
        raise ModelError(f"The head {head!r} is parametrised, so that its weights cannot be set. Remove that first.")
