"""Places in a network by name: what a module returns, what it takes, and at which of its calls.

``bn3`` is the output of the module ``bn3``, ``bn3:input`` what it takes, ``relu#2`` the output of the second call of a
module that is called several times, ``layer1.0.relu#2:input`` what that call takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from weightscape.batch_forms import arguments_of
from weightscape.errors import ModelError, did_you_mean
from weightscape.models.taps import first_tensor, tensor_or_none
from weightscape.weights.modes import evaluation_mode

Point: TypeAlias = Literal["output", "input"]
ALL = "all"
"""The pattern of every module without modules of its own, at its output."""

_FORM = re.compile(r"(?P<module>[^#:]+)(?:#(?P<call>[1-9]\d*))?(?::(?P<point>input|output))?")
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class LayerAddress:
    """A place in a network.

    Attributes:
        module: Name of the module, as in ``named_modules``.
        call: Which call of the module in one forward pass, from 1; None for a module that is called once.
        point: ``output``, or ``input``: the first tensor that the module is called with.
    """

    module: str
    call: int | None = None
    point: Point = "output"

    @classmethod
    def parse(cls, text: str) -> LayerAddress:
        """Return the address that a text like ``layer1.0.relu#2:input`` stands for.

        >>> LayerAddress.parse("layer1.0.relu#2:input")
        LayerAddress(module='layer1.0.relu', call=2, point='input')

        Raises:
            ModelError: If the text is no address.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ModelError(
                f"Expected the name of a layer, such as 'bn3', 'bn3:input' or 'relu#2' for its second call, "
                f"received {text!r}."
            )
        call = found["call"]
        point: Point = "input" if found["point"] == "input" else "output"
        return cls(found["module"], int(call) if call else None, point)

    def __str__(self) -> str:
        call = "" if self.call is None else f"#{self.call}"
        return f"{self.module}{call}{':input' if self.point == 'input' else ''}"


@dataclass(frozen=True)
class Place:
    """A tensor that a network passes from one module to another.

    Attributes:
        address: Its address, with the number of the call where the module is called several times.
        shape: Its shape, with the batch.
        bytes: Its memory.
        leaf: Whether the module has no modules of its own.
    """

    address: LayerAddress
    shape: tuple[int, ...]
    bytes: int
    leaf: bool


def places(model: nn.Module, run: Callable[[], Any]) -> dict[LayerAddress, Place]:
    """Return every place of a network in the order in which a forward pass reaches it.

    The pass is made in evaluation mode without gradients; modes and hooks are the same afterwards.

    Args:
        model: The network.
        run: Makes one forward pass of it.
    """
    names = {module: name for name, module in model.named_modules() if name}
    found: list[tuple[nn.Module, int, Point, Tensor | None]] = []
    calls = dict.fromkeys(names, 0)

    def enter(module: nn.Module, arguments: Any, named: Any) -> None:
        calls[module] += 1
        found.append((module, calls[module], "input", first_tensor(arguments, named)))

    def leave(module: nn.Module, _arguments: Any, output: Any) -> None:
        found.append((module, calls[module], "output", tensor_or_none(output)))

    handles = [module.register_forward_pre_hook(enter, with_kwargs=True) for module in names]
    handles += [module.register_forward_hook(leave) for module in names]
    try:
        with evaluation_mode(model), torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return {
        address: Place(address, tuple(value.shape), value.numel() * value.element_size(), not any(module.children()))
        for module, call, point, value in found
        if value is not None
        for address in [LayerAddress(names[module], call if calls[module] > 1 else None, point)]
    }


def find_layers(model: nn.Module, patterns: str | Sequence[str], *, example: Any) -> tuple[str, ...]:
    """Return the addresses that names and patterns stand for, each once, in the order in which they are reached.

    ``*`` stands for any characters, dots included, ``?`` for one, and a comma separates patterns; ``all`` stands for
    every module without modules of its own. A pattern takes in every call of a module that is called several times.

    >>> find_layers(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "*", example=torch.zeros(1, 2))
    ('0', '1')

    Args:
        model: The network.
        patterns: Names or patterns, each with ``:input`` or without.
        example: A batch of inputs: a tensor, or a tuple or dictionary as a data loader gives it.

    Raises:
        ModelError: If a layer does not exist or is not called, a pattern matches nothing, or it is not clear which
            call is meant.
    """
    positional, named = arguments_of(model, example)
    return choose(model, places(model, lambda: model(*positional, **named)), patterns)


def items_of(patterns: str | Sequence[str]) -> list[str]:
    """Return the single names and patterns of what may have commas.

    >>> items_of(["bn1, bn2", "conv*"])
    ['bn1', 'bn2', 'conv*']
    """
    listed = [patterns] if isinstance(patterns, str) else patterns
    return [item.strip() for pattern in listed for item in pattern.split(",") if item.strip()]


def choose(model: nn.Module, there: dict[LayerAddress, Place], patterns: str | Sequence[str]) -> tuple[str, ...]:
    """Return the addresses that patterns stand for among the places of a network; see :func:`find_layers`.

    Raises:
        ModelError: As :func:`find_layers`.
    """
    items = items_of(patterns)
    if not items:
        raise ModelError("Expected the name of a layer or a pattern such as 'bn*', received none.")
    wanted = {address for item in items for address in _matching(model, there, item)}
    return tuple(str(address) for address in there if address in wanted)


def _matching(model: nn.Module, there: dict[LayerAddress, Place], item: str) -> Iterable[LayerAddress]:
    if item == ALL:
        return [address for address, place in there.items() if place.leaf and address.point == "output"]
    if not _WILD.search(item):
        return [resolve(model, there, LayerAddress.parse(item))]
    name = item.removesuffix(":input").removesuffix(":output")
    point = "input" if item.endswith(":input") else "output"
    found = [
        address
        for address in there
        if address.point == point
        and (fnmatchcase(address.module, name) or fnmatchcase(str(replace(address, point="output")), name))
    ]
    if not found:
        known = ", ".join(dict.fromkeys(address.module for address in there))
        raise ModelError(f"No layer matches {item!r}. Layers: {known}.")
    return found


def resolve(model: nn.Module, there: dict[LayerAddress, Place], address: LayerAddress) -> LayerAddress:
    """Return the address of one place as :func:`places` writes it.

    Raises:
        ModelError: If the layer does not exist, is not called or has no tensor there, or the call is not clear.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
    modules.pop("", None)
    if address.module not in modules:
        raise ModelError(f"The model has no layer {address.module!r}. {did_you_mean(address.module, modules)}")
    first = next(name for name, module in model.named_modules() if module is modules[address.module])
    calls = [one for one in there if one.module == first and one.point == address.point]
    if not calls:
        raise ModelError(
            f"The layer {address.module!r} has no tensor at its {address.point}: it takes no part in the forward pass, "
            "or passes on something else. Take a layer inside it, or one around it."
        )
    if address.call is None and len(calls) > 1:
        raise ModelError(
            f"The layer {address.module!r} is called {len(calls)} times in one forward pass. Say which call: "
            f"{', '.join(repr(str(one)) for one in calls)}."
        )
    if address.call is not None and address.call > len(calls):
        often = "once" if len(calls) == 1 else f"{len(calls)} times"
        raise ModelError(f"The layer {address.module!r} is called {often} in one forward pass, received {address}.")
    return calls[(address.call or 1) - 1]
