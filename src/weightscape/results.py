"""Base of the results that library functions return.

A result is a frozen dataclass: the answer and its evidence (standard errors, residuals, counts, policies), never a bare
tuple. Scalar fields are *metrics*: columns of the stage's table. Fields annotated with an artefact type
(``Weights``, ``Trajectory``, ``Permutation``, ``Table``) become files of the task's object in the store.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pandas

    Table: TypeAlias = pandas.DataFrame

Scalar: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True)
class Result:
    """Base class of results."""

    def metrics(self) -> dict[str, Scalar]:
        """Return the scalar fields by name, in the order of their declaration."""
        values: dict[str, Any] = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return {
            name: value
            for name, value in values.items()
            if value is None or isinstance(value, bool | int | float | str)
        }

    def to_frame(self) -> pandas.DataFrame:
        """Return the scalar fields as a table of one row."""
        import pandas

        return pandas.DataFrame([self.metrics()])


def _plain(value: Any) -> Any:
    """Return the Python number in a NumPy or torch scalar; other values as they are."""
    return value.item() if hasattr(value, "dtype") and getattr(value, "shape", None) == () else value
