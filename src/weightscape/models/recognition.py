"""Which bundled architecture weights belong to, told from the names and shapes of their tensors."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import torch

from weightscape.errors import ModelError
from weightscape.models.architecture import NAMES, Architecture, parse_architecture
from weightscape.models.building import build_on_meta

Shapes = Mapping[str, tuple[int, ...]]


def recognise(shapes: Shapes, *, shape: tuple[int, int, int], classes: int) -> list[Architecture]:
    """Return the bundled architectures that have exactly these tensors.

    Options that leave no trace in names and shapes (pooling, activation, initialisation) are at their defaults, so
    architectures of which these matter are not recognised.

    Args:
        shapes: Shape of each tensor of the state dict, by name.
        shape: Channels, height and width of the inputs.
        classes: Number of outputs.
    """
    found = []
    for settings in _candidates(shapes):
        candidate = parse_architecture(settings)
        if shapes_in(candidate, shape, classes) == dict(shapes):
            found.append(candidate)
    return found


def closest(shapes: Shapes, *, shape: tuple[int, int, int], classes: int) -> tuple[Architecture, Shapes] | None:
    """Return the bundled architecture that has most of these tensors, and its own; None where none has half of them.

    Args:
        shapes: Shape of each tensor of the state dict, by name.
        shape: Channels, height and width of the inputs.
        classes: Number of outputs.
    """
    found: list[tuple[int, Architecture, Shapes]] = []
    for settings in _candidates(shapes):
        candidate = parse_architecture(settings)
        own = shapes_in(candidate, shape, classes)
        if own is not None:
            common = sum(own.get(name) == given for name, given in shapes.items())
            found.append((common - len(own.keys() - shapes.keys()), candidate, own))
    best = max(found, key=lambda entry: entry[0], default=None)
    return best[1:] if best is not None and 2 * best[0] >= len(shapes) else None


def shapes_in(candidate: Architecture, shape: tuple[int, int, int], classes: int) -> dict[str, tuple[int, ...]] | None:
    """Return the shapes of an architecture's tensors by name; None if it cannot take such inputs."""
    try:
        network = build_on_meta(candidate, shape=shape, classes=classes)
    except ModelError:  # it cannot take such inputs
        return None
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _candidates(shapes: Shapes) -> Iterator[dict[str, Any]]:
    names = set(shapes)
    hidden = _hidden(shapes)
    if hidden is not None:
        yield {"name": "mlp", "hidden": hidden, "bias": any(name.endswith(".bias") for name in names)}
        return
    for name in NAMES:
        if name in {"mlp", "cnn"}:  # the tensors of a cnn do not tell its pools
            continue
        fields = type(parse_architecture(name)).model_fields
        options: dict[str, tuple[Any, ...]] = {
            "width": _widths(shapes),
            "stem": get_args(fields["stem"].annotation) if "stem" in fields else (),
            "batch_norm": (True, False),
        }
        taken = {option: values for option, values in options.items() if option in fields}
        for values in itertools.product(*taken.values()):
            yield {"name": name, **dict(zip(taken, values, strict=True))}


def _hidden(shapes: Shapes) -> list[int] | None:
    """Return the widths of the hidden layers of an mlp, None for other networks."""
    layers = [name for name in shapes if re.fullmatch(r"linear\d+\.weight", name)]
    others = [name for name in shapes if not re.fullmatch(r"linear\d+\.(weight|bias)", name)]
    if others or len(layers) < 2:
        return None
    return [shapes[name][0] for name in sorted(layers, key=lambda name: int(name[6:-7]))][:-1]


def _widths(shapes: Shapes) -> tuple[float, ...]:
    """Return the factors that the first layer's channels allow; all families have 64 there at factor 1."""
    first = next((shape for shape in shapes.values() if len(shape) == 4), None)
    return (1.0,) if first is None else tuple(dict.fromkeys([first[0] / 64]))


def shapes_of(weights: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor by name."""
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}
