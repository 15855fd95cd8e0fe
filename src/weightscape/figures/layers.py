"""Layers as the places of an axis: in the order in which they are computed, with names that fit below it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from weightscape.figures.registry import FigureError

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

ARROW = "→"


def with_layers(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Add the column ``layer``, the name of where two networks are joined, and ``place``, its number from the input.

    Args:
        frame: Rows with ``front_layer``, ``depth`` (missing in failed rows) and, if it is another one, ``back_layer``.
    """
    names = [_joined(front, back) for front, back in zip(*_both(frame), strict=True)]
    frame = frame.assign(layer=names)
    order = layer_order(frame)
    return frame.assign(place=frame["layer"].map({name: place for place, name in enumerate(order)}))


def layer_order(frame: pandas.DataFrame) -> list[str]:
    """Return the layers of a table from the input on; those of unknown depth last."""
    layers = list(dict.fromkeys(frame["layer"].dropna()))
    if "depth" not in frame.columns:
        return layers
    depths = frame.groupby("layer")["depth"].min()
    known = {name: float(depths.get(name, float("nan"))) for name in layers}
    # NaN compares with nothing; failed rows know no depth.
    return sorted(layers, key=lambda name: (known[name] != known[name], known[name], layers.index(name)))


def _both(frame: pandas.DataFrame) -> tuple[Sequence[str], Sequence[object]]:
    return list(frame["front_layer"]), list(frame.get("back_layer", frame["front_layer"]))


def _joined(front: str, back: object) -> str:
    return front if not isinstance(back, str) or back == front else f"{front}{ARROW}{back}"


def short_names(names: Sequence[str]) -> list[str]:
    """Return layer names without what all the long ones have in common.

    >>> short_names(["bn1", "layer1.0.add", "layer3.2.add"]), short_names(["bn1", "bn8"])
    (['bn1', '1.0', '3.2'], ['bn1', 'bn8'])
    """
    long = [name for name in names if len(name) > 6]
    if len(long) < 2:
        return list(names)
    start = _common_start(long).rstrip("0123456789.")
    endings = {name.rpartition(".")[2] for name in long}
    end = f".{endings.pop()}" if len(endings) == 1 else ""
    shorter = [name.removeprefix(start).removesuffix(end).strip(".") if name in long else name for name in names]
    return shorter if len(set(shorter)) == len(set(names)) and all(shorter) else list(names)


def _common_start(names: Sequence[str]) -> str:
    same = (len(set(letters)) == 1 for letters in zip(*names, strict=False))
    return names[0][: sum(itertools.takewhile(bool, same))]


def layer_ticks(axes: Axes, names: Sequence[str], *, label: str = "layer", inches: float = 2.3) -> None:
    """Put layers below an axis, at 0, 1, 2 and so on, turned where they would touch.

    Args:
        axes: The axes.
        names: Layers in order.
        label: What stands below them; an example of a shortened name is added.
        inches: Width of the axes on the page.

    Raises:
        FigureError: If there are no layers.
    """
    if not names:
        raise FigureError("There is no layer to draw: no run has finished.")
    short = short_names(names)
    turned = max(map(len, short)) * 0.065 > inches / len(short)
    axes.set_xticks(range(len(names)), short, rotation=90 if turned else 0)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_xlabel(label + example_of(names))


def example_of(names: Sequence[str]) -> str:
    """Return what a shortened name stands for, in brackets; nothing where none is shortened."""
    found = ((name, short) for name, short in zip(names, short_names(names), strict=True) if name != short)
    name, short = next(found, ("", ""))
    return f" ({short} is {name})" if name else ""
