"""Copies of the activations at layers, while a network is used.

A copy is taken when the layer is reached, so that activation functions that work in place change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from weightscape.errors import ModelError
from weightscape.models.addresses import LayerAddress, resolve
from weightscape.models.taps import first_tensor, tensor_or_none


@contextmanager
def activations(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Keep copies of the activations at layers while a network is used; each forward pass replaces those before.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True))
    >>> with activations(model, ["0", "1"]) as found:
    ...     outputs = model(torch.randn(4, 2))
    >>> sorted(found), found["0"].min() < 0
    (['0', '1'], tensor(True))

    Args:
        model: The network, in the mode that it is in.
        layers: Addresses (:class:`~weightscape.models.addresses.LayerAddress`).

    Yields:
        The activations by address, detached.

    Raises:
        ModelError: If a layer does not exist; during the forward pass, if a layer is called several times and the
            address does not say which call is meant.
    """
    found: dict[str, Tensor] = {}
    watcher = Watcher(model, layers, found)
    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(watcher.begin).remove)
        watcher.attach(stack)
        yield found


class Watcher:
    """The hooks of one network."""

    def __init__(self, model: nn.Module, layers: Sequence[str], found: dict[str, Tensor]) -> None:
        self._found = found
        self._calls: dict[tuple[nn.Module, str], int] = {}
        self._wanted: dict[tuple[nn.Module, str], dict[str, LayerAddress]] = {}
        modules = dict(model.named_modules(remove_duplicate=False))
        for layer in layers:
            address = LayerAddress.parse(layer)
            if address.module not in modules:
                resolve(model, {}, address)  # says which there are
            self._wanted.setdefault((modules[address.module], address.point), {})[layer] = address

    def begin(self, *_: Any) -> None:
        """Forget the pass before."""
        self._found.clear()
        self._calls = dict.fromkeys(self._wanted, 0)

    def attach(self, stack: ExitStack) -> None:
        """Register the hooks; `stack` removes them."""
        self.begin()
        for module, point in self._wanted:
            if point == "input":
                handle = module.register_forward_pre_hook(self._enter, with_kwargs=True)
            else:
                handle = module.register_forward_hook(self._leave)
            stack.callback(handle.remove)

    def _enter(self, module: nn.Module, arguments: Any, named: Any) -> None:
        self._reached((module, "input"), first_tensor(arguments, named))

    def _leave(self, module: nn.Module, _arguments: Any, output: Any) -> None:
        self._reached((module, "output"), tensor_or_none(output))

    def _reached(self, place: tuple[nn.Module, str], value: Tensor | None) -> None:
        self._calls[place] += 1
        for layer, address in self._wanted[place].items():
            if address.call is None and self._calls[place] > 1:
                raise ModelError(
                    f"The layer {address.module!r} is called several times in one forward pass. Say which call is "
                    f"meant: {address.module}#1, {address.module}#2, ..."
                )
            if value is not None and address.call in {None, self._calls[place]}:
                self._found[layer] = value.detach().clone()
