"""A network without weights: which layers it has, and which shapes are at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightscape.models.addresses import LayerAddress, Place, choose, places
from weightscape.models.architecture import Architecture
from weightscape.models.building import build_on_meta


@dataclass(frozen=True)
class Sketch:
    """A network whose tensors have shapes and no content.

    Attributes:
        network: The network.
        example: A batch of two inputs for it.
        places: Everything that it passes from module to module, in the order in which it is reached.
    """

    network: nn.Module
    example: Tensor
    places: Mapping[LayerAddress, Place]

    def layers(self, patterns: str | Sequence[str]) -> tuple[str, ...]:
        """Return the addresses that names and patterns stand for (:func:`~weightscape.models.addresses.find_layers`).

        Raises:
            ModelError: If there are none.
        """
        return choose(self.network, dict(self.places), patterns)

    def shape(self, layer: str) -> tuple[int, ...]:
        """Return the shape of one input's activation at the address of a layer, as :meth:`layers` returns it."""
        return self.places[LayerAddress.parse(layer)].shape[1:]


def sketch(architecture: Architecture, *, shape: tuple[int, int, int], classes: int) -> Sketch:
    """Return a network without weights; no number is computed and no memory is taken.

    Args:
        architecture: Its settings.
        shape: Channels, height and width of the inputs.
        classes: Number of outputs.

    Raises:
        ModelError: If the network cannot take such inputs.
        Exception: If its code needs numbers where there are none.
    """
    network = build_on_meta(architecture, shape=shape, classes=classes)
    example = torch.empty(2, *shape, device="meta")
    return Sketch(network, example, places(network, lambda: network(example)))
