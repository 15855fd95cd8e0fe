"""Two frozen networks that are run once on each batch, for all stitches between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from weightscape.devices import device_here
from weightscape.errors import ModelError
from weightscape.models.addresses import LayerAddress, Place, choose, find_layers, places
from weightscape.models.cutting import Back, back_of, front_of
from weightscape.similarity.watching import activations
from weightscape.training.layout import memory_format, place, private_copy

Features: TypeAlias = dict[str, Tensor]
"""What the networks make of a batch, by name; see :class:`Wanted`."""


@dataclass(frozen=True)
class Wanted:
    """What is to be computed of each image.

    Attributes:
        front_layers: Activations of the front network, named ``front/LAYER``.
        back_layers: Activations of the back network, named ``back/LAYER``.
        sides: What the back network from these layers on needs besides, named ``sides/LAYER/0`` and so on.
        front_logits: Outputs of the front network, named ``front_logits``.
        back_logits: Outputs of the back network, named ``back_logits``.
    """

    front_layers: tuple[str, ...] = ()
    back_layers: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()
    front_logits: bool = False
    back_logits: bool = False

    def __or__(self, other: Wanted) -> Wanted:
        """Return what either wants."""
        return Wanted(
            front_layers=_union(self.front_layers, other.front_layers),
            back_layers=_union(self.back_layers, other.back_layers),
            sides=_union(self.sides, other.sides),
            front_logits=self.front_logits or other.front_logits,
            back_logits=self.back_logits or other.back_logits,
        )

    def has(self, name: str) -> bool:
        """Return whether a feature of that name is wanted."""
        kind, _, rest = name.partition("/")
        if kind == "sides":
            return rest.rpartition("/")[0] in self.sides
        named = {"front": self.front_layers, "back": self.back_layers}
        return rest in named[kind] if kind in named else bool(getattr(self, kind))


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


class Pair:
    """Frozen copies of a front and a back network, cut where stitches need it.

    Both are in evaluation mode, so that batch norms use their running statistics and leave them alone.

    Args:
        front: The network that stitches begin with; never changed.
        back: The network that goes on after them; never changed.
        example: Two or more images ``(n, c, h, w)``.
        device: Where to compute.

    Raises:
        ModelError: If a network cannot take such images.
    """

    def __init__(self, front: nn.Module, back: nn.Module, *, example: Tensor, device: str | torch.device) -> None:
        self.device = device_here(device)
        self.front, self.back = (_frozen(network, self.device) for network in (front, back))
        self._layouts = memory_format(front), memory_format(back)
        self._example = example.to(self.device)
        self._fronts: dict[str, nn.Module] = {}
        self._backs: dict[str, Back] = {}
        self._tails: dict[str, nn.Module] = {}

    def front_layer(self, layer: str) -> str:
        """Return the address of one layer of the front network.

        Raises:
            ModelError: If there is no such layer, or a pattern stands for several.
        """
        return one_layer(self.front, self._places(0), layer, name="front")

    def back_layer(self, layer: str) -> str:
        """Return the address of one layer of the back network.

        Raises:
            ModelError: If there is no such layer, or a pattern stands for several.
        """
        return one_layer(self.back, self._places(1), layer, name="back")

    def depth(self, layer: str) -> int:
        """Return the place of a layer among all of the front network, from 0, in order of execution."""
        return find_layers(self.front, ["*", layer], example=self._placed(0)).index(layer)

    def front_cut(self, layer: str) -> nn.Module:
        """Return the front network up to a layer."""
        if layer not in self._fronts:
            self._fronts[layer] = front_of(self.front, layer, example=self._placed(0))
        return self._fronts[layer]

    def back_cut(self, layer: str) -> Back:
        """Return the back network from a layer on."""
        if layer not in self._backs:
            self._backs[layer] = back_of(self.back, layer, example=self._placed(1))
        return self._backs[layer]

    def fast_tail(self, layer: str) -> nn.Module:
        """Return the back network from a layer on, with batch norms folded into convolutions: equal up to rounding."""
        if layer not in self._tails:
            tail = back_of(self.back, layer, example=self._placed(1), fold=True).tail
            self._tails[layer] = tail.to(memory_format=self._layouts[1])  # type: ignore[call-overload]
        return self._tails[layer]

    def front_shape(self, layer: str) -> tuple[int, ...]:
        """Return the shape of the front network's activation of one image."""
        return tuple(self.features(self._example[:2], Wanted(front_layers=(layer,)))[f"front/{layer}"].shape[1:])

    def _places(self, side: int) -> dict[LayerAddress, Place]:
        network, example = (self.front, self.back)[side], self._placed(side)
        return places(network, lambda: network(example))

    def _placed(self, side: int) -> Tensor:
        return place(self._example, self.device, self._layouts[side])

    @torch.no_grad()
    def features(self, images: Tensor, wanted: Wanted) -> Features:
        """Run both networks on a batch, each at most once.

        Args:
            images: Batch ``(b, c, h, w)``.
            wanted: What to return.
        """
        found: Features = {}
        inputs = place(images, self.device, self._layouts[0])
        found |= self._front_features(inputs, wanted)
        inputs = place(images, self.device, self._layouts[1])
        if wanted.back_layers or wanted.back_logits:
            seen, logits = _captured(self.back, wanted.back_layers, inputs)
            found |= {f"back/{layer}": value for layer, value in seen.items()}
            if wanted.back_logits:
                found["back_logits"] = logits
        for layer in wanted.sides:
            sides = self.back_cut(layer).sides
            values = () if sides is None else sides(inputs)
            found |= {f"sides/{layer}/{number}": value for number, value in enumerate(values)}
        return found

    def _front_features(self, inputs: Tensor, wanted: Wanted) -> Features:
        found: Features = {}
        if len(wanted.front_layers) == 1 and not wanted.front_logits:
            (layer,) = wanted.front_layers  # the rest of the network is not run
            return {f"front/{layer}": self.front_cut(layer)(inputs)}
        if wanted.front_layers or wanted.front_logits:
            seen, logits = _captured(self.front, wanted.front_layers, inputs)
            found |= {f"front/{layer}": value for layer, value in seen.items()}
            if wanted.front_logits:
                found["front_logits"] = logits
        return found


def sides_of(features: Features, layer: str) -> tuple[Tensor, ...]:
    """Return what the back network from a layer on needs besides the activation there."""
    prefix = f"sides/{layer}/"
    return tuple(value for name, value in features.items() if name.startswith(prefix))


def one_layer(network: nn.Module, there: dict[LayerAddress, Place], layer: str, *, name: str) -> str:
    """Return the address of one layer.

    Args:
        network: The network.
        there: Its places (:func:`~weightscape.models.addresses.places`).
        layer: The layer as the user wrote it.
        name: What messages call the network.

    Raises:
        ModelError: If there is none, or several.
    """
    try:
        found = choose(network, there, layer)
    except ModelError as error:
        raise ModelError(f"The {name} network: {error}") from error
    if len(found) > 1:
        raise ModelError(
            f"The {name} network: expected one layer to stitch at, received {layer!r}, which stands for "
            f"{', '.join(found)}."
        )
    return found[0]


def _frozen(network: nn.Module, device: torch.device) -> nn.Module:
    return private_copy(network, device).eval().requires_grad_(False)


def _captured(network: nn.Module, layers: Sequence[str], inputs: Tensor) -> tuple[Features, Tensor]:
    """Run a network and return copies of what is at some layers, and its output.

    Raises:
        ModelError: If the output is no tensor.
    """
    with activations(network, layers) as seen:
        output = network(inputs)
    if not isinstance(output, Tensor):
        raise ModelError(f"Expected a network that returns logits, received {type(output).__name__} from it.")
    return seen, output
