"""What settings ask of networks, tried out before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weightscape.errors import Problem
from weightscape.source import import_dotted


@dataclass(frozen=True)
class Rehearsal:
    """Finds what would fail for a reason that lies in the architectures alone, without weights and without data.

    Attributes:
        looks_at: The settings that the answer depends on; of all tasks that agree in them, one is tried out.
        function: Dotted path of the function that tries a task out, loaded when it is asked: ``function(settings)``
            takes validated settings and returns problems, the place of each being a setting, or empty for all. What it
            cannot know is no problem.
    """

    looks_at: tuple[str, ...]
    function: str

    def problems(self, settings: Any) -> Sequence[Problem]:
        """Return what is wrong with validated settings."""
        found: Sequence[Problem] = import_dotted(self.function)(settings)
        return found
