"""Look at the tensor at one place of a network during a forward pass, or put another one in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from weightscape.batch_forms import output_tensor
from weightscape.errors import DataError, ModelError

if TYPE_CHECKING:
    from weightscape.models.addresses import LayerAddress


def tensor_or_none(output: Any) -> Tensor | None:
    """Return the tensor in what a module returns, or None."""
    try:
        return output_tensor(output)
    except DataError:
        return None


def first_tensor(arguments: Sequence[Any], named: dict[str, Any]) -> Tensor | None:
    """Return the first tensor that a module is called with, or None."""
    return next((value for value in (*arguments, *named.values()) if isinstance(value, Tensor)), None)


@contextmanager
def tapped(model: nn.Module, address: LayerAddress, visit: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Show the tensor at an address to a function, which may return another one in its place, for one forward pass.

    Args:
        model: The network.
        address: The place.
        visit: Takes the tensor itself (whoever keeps it keeps a copy: the network may overwrite it) and returns None,
            or what the network shall go on with.

    Raises:
        ModelError: During the pass, if another tensor cannot be put in.
    """
    calls = 0

    def reached() -> bool:
        nonlocal calls
        calls += 1
        return calls == (address.call or 1)

    def enter(_module: nn.Module, arguments: Any, named: dict[str, Any]) -> Any:
        if not reached() or (value := first_tensor(arguments, named)) is None:
            return None
        other = visit(value)
        if other is None:
            return None
        swapped = tuple(other if part is value else part for part in arguments)
        return swapped, {key: other if part is value else part for key, part in named.items()}

    def leave(_module: nn.Module, _arguments: Any, output: Any) -> Any:
        other = visit(output_tensor(output)) if reached() else None
        if other is not None and not isinstance(output, Tensor):
            raise ModelError(
                f"The layer {address.module!r} returns {type(output).__name__} and no tensor, so that nothing can be "
                "put in its place. Take the input of the layer after it, or a layer inside it."
            )
        return other

    module = model.get_submodule(address.module)
    if address.point == "input":
        handle = module.register_forward_pre_hook(enter, with_kwargs=True)
    else:
        handle = module.register_forward_hook(leave)
    try:
        yield
    finally:
        handle.remove()
