"""Which layers of two networks are matched, and which of them have pixels that correspond."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from weightscape.errors import ModelError
from weightscape.models.addresses import choose, items_of, places
from weightscape.stitching.direct.settings import RowForm
from weightscape.stitching.features import Site

_WAY_OUT = (
    "Direct matching compares maps pixel by pixel. Take layers of equal size, the form 'features' for small layers, or "
    "train the stitch on the task loss, which can resize maps (operation 'stitch', resize 'bilinear')."
)
_PATTERN = re.compile(r"[*?\[]|^all$")


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes:
        name: Its address.
        depth: Its place among all layers, from 0, in order of execution.
        shape: Shape of its activation without the batch.
    """

    name: str
    depth: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Match:
    """Two layers to be matched.

    Attributes:
        front: Layer of the front network.
        back: Layer of the back network.
        obstacle: Why their activations cannot be matched; empty where they can.
    """

    front: Layer
    back: Layer
    obstacle: str

    @property
    def site(self) -> Site:
        """The layers by name."""
        return Site(self.front.name, self.back.name)


def find_matches(
    front: nn.Module,
    back: nn.Module,
    layers: str | Sequence[str],
    back_layers: str | Sequence[str] | None,
    *,
    example: Tensor,
    form: RowForm,
) -> list[Match]:
    """Return the pairs of layers that names and patterns stand for.

    Args:
        front: The front network.
        back: The back network.
        layers: Layers of the front network.
        back_layers: Layers of the back network, each of which is paired with each of the front; by default a layer is
            paired with the one of the same name.
        example: A batch of inputs.
        form: Whether pixels are matched, or whole activations.

    Raises:
        ModelError: If a layer does not exist, or two layers that were named (not by a pattern), or all, cannot be
            matched.
    """
    fronts = _layers(front, layers, example, "front")
    if back_layers is None:
        twins = {layer.name: layer for layer in _layers(back, [layer.name for layer in fronts], example, "back")}
        chosen = [(layer, twins[layer.name]) for layer in fronts]
    else:
        chosen = [(one, other) for one in fronts for other in _layers(back, back_layers, example, "back")]
    found = [Match(one, other, _obstacle(one, other, form)) for one, other in chosen]
    obstacles = [match.obstacle for match in found if match.obstacle]
    by_pattern = _is_pattern(layers) or (back_layers is not None and _is_pattern(back_layers))
    if obstacles and (not by_pattern or len(obstacles) == len(found)):
        raise ModelError(f"{obstacles[0]} {_WAY_OUT}")
    return found


def _layers(network: nn.Module, patterns: str | Sequence[str], example: Tensor, which: str) -> list[Layer]:
    """Return layers by name and pattern; `which` network this is stands before what is wrong with them.

    Raises:
        ModelError: If there are no such layers.
    """
    there = places(network, lambda: network(example))
    shapes = {str(address): tuple(place.shape[1:]) for address, place in there.items()}
    try:
        names = choose(network, there, patterns)
    except ModelError as error:
        raise ModelError(f"The {which} network: {error}") from error
    return [Layer(name, choose(network, there, ["*", name]).index(name), shapes[name]) for name in names]


def _is_pattern(patterns: str | Sequence[str]) -> bool:
    return any(map(_PATTERN.search, items_of(patterns)))


def _obstacle(front: Layer, back: Layer, form: RowForm) -> str:
    if form == "features" or front.shape[1:] == back.shape[1:]:
        return ""
    return f"{front.name} has activations of shape {front.shape}, {back.name} of {back.shape}: their pixels differ."
