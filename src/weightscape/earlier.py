"""Results of shorter tasks that longer ones go on from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Earlier(Protocol):
    """A published result, its artefacts read when they are asked for."""

    @property
    def key(self) -> str:
        """Its key."""

    def artefact(self, field: str) -> Any:
        """Return one field of the result."""


@dataclass(frozen=True)
class Continues:
    """How an operation goes on from the result of a shorter task of its own, to the result it would have had anyway.

    Attributes:
        family: Pure function of validated settings: equal for tasks that differ in nothing but their length and what is
            kept. A task without a family starts from the beginning.
        done: ``done(settings, shorter)`` returns how much of a task a shorter one of its family has done, the more the
            better, or None if it does not hold what is needed.
        state: The artefact in which a result holds what a longer task needs; one without tensors cannot be continued.
    """

    family: Callable[[Any], str | None]
    done: Callable[[Any, Any], int | None]
    state: str = "state"
