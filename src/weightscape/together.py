"""Several tasks of one operation computed at once, where that pays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from weightscape.results import Result
from weightscape.source import import_dotted

Stack: TypeAlias = Literal["auto", "always", "never"]
"""Whether what can be computed together is: by a fixed rule (``auto``), always or never."""

Publish: TypeAlias = Callable[[int, "Result | Exception", str], None]
"""Called with the position of a call, what became of it, and how it was computed."""


@dataclass(frozen=True)
class Together:
    """How an operation computes several tasks at once, to results that differ from those of single tasks by rounding.

    Attributes:
        label: Pure function of validated settings. Tasks with one label can be computed together; a task without a
            label is computed alone.
        function: Dotted path of the function that computes them, loaded when it is used: ``function(calls, context=...,
            publish=...)`` with the inputs and settings of each task, the context of an operation and :data:`Publish`,
            which it calls for each task as soon as that has a result.
        devices: Kinds of device on which tasks are computed together unless the user says otherwise.
    """

    label: Callable[[Any], str | None]
    function: str
    devices: tuple[str, ...] = ("cuda",)

    def is_wanted(self, device: str, stack: Stack) -> bool:
        """Return whether tasks are to be computed together on a device."""
        return stack == "always" or (stack == "auto" and device.partition(":")[0] in self.devices)

    def compute(self, calls: Sequence[Mapping[str, Any]], *, context: Any, publish: Publish) -> None:
        """Compute several tasks, each given by the inputs and settings of a call."""
        import_dotted(self.function)(calls, context=context, publish=publish)
