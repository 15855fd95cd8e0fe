"""Collect every mistake of a study, with its place, before anything is raised."""

from __future__ import annotations

from collections.abc import Iterable

from weightscape.errors import Problem, SpecificationError
from weightscape.studies.document import Document, Location


class Problems:
    """A list of mistakes that knows the document they are in.

    Args:
        document: Where the mistakes are made.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self._found: dict[Problem, None] = {}

    def __len__(self) -> int:
        return len(self._found)

    def where(self, location: Location) -> str:
        """Return the place of a location, as problems show it."""
        return self.document.where(location)

    def add(self, location: Location, expected: str, received: str, remedy: str = "") -> None:
        """Add a mistake made at a location of the document."""
        self.extend([Problem(self.where(location), expected, received, remedy)])

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add mistakes, each once."""
        self._found.update(dict.fromkeys(problems))

    def raise_if_any(self) -> None:
        """Raise what was collected.

        Raises:
            SpecificationError: If anything was.
        """
        if self._found:
            raise SpecificationError(self._found)
