"""One configuration that stands for many rows: files, each of which, or each folder of which, is a task of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from weightscape.errors import SpecificationError


class SourcesGone(SpecificationError):
    """What settings stand for is not there; what was made of it before still counts."""


@dataclass(frozen=True)
class Expanded:
    """One row that the settings of an operation amount to.

    Attributes:
        options: Settings of this row alone, in place of those that were written.
        columns: Columns of the row beside its settings.
        content: Hashes of what the settings stand for, for the key.
    """

    options: Mapping[str, Any]
    columns: Mapping[str, Any] = field(default_factory=dict)
    content: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Expansion:
    """How the settings of an operation become rows when a study is planned.

    Attributes:
        located: Settings that say where something lies, not what it is: neither in the key nor in tables. What they
            lead to is in the key as content.
        function: Takes validated settings and returns the rows; it loads no torch. Its SpecificationError is reported
            with the places of the settings that its problems name; at :class:`SourcesGone` the rows of an earlier plan
            are taken, where all of them have results.
    """

    located: tuple[str, ...]
    function: Callable[[Any], list[Expanded]]

    def rows(self, settings: BaseModel) -> list[Expanded]:
        """Return the rows that settings stand for."""
        return self.function(settings)
