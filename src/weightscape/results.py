"""Base of the results that library functions return.

A result is a frozen dataclass: the answer and its evidence (standard errors, residuals, counts, policies), never a bare
tuple. Scalar fields are *metrics*: columns of the stage's table. Fields annotated with an artefact type
(``Weights``, ``Trajectory``, ``Permutation``, ``Table``) become files of the task's object in the store.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeAlias

from weightscape.errors import WeightscapeError

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    Table: TypeAlias = pandas.DataFrame

Scalar: TypeAlias = bool | int | float | str | None
_DRAWING = "weightscape.drawing"


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


@dataclass(frozen=True)
class PlottedResult(Result):
    """Base class of results that have a figure.

    Figures are drawn from tables, in a room above the one that measures. A result therefore names its figure and hands
    over its tables; who draws is found through the entry-point group ``weightscape.drawing``.
    """

    def figure(self) -> tuple[str, dict[str, Table], dict[str, Any]]:
        """Return the name of the figure, its tables by parameter and its options.

        Raises:
            NotImplementedError: Where a class does not say it.
        """
        raise NotImplementedError

    def plot(self, **options: Any) -> Figure:
        """Return the matplotlib figure of this result; a notebook shows it.

        Args:
            options: Options of the figure, such as ``title``.

        Raises:
            WeightscapeError: If the package that draws is not installed.
        """
        found = tuple(entry_points(group=_DRAWING, name="draw"))
        if not found:
            raise WeightscapeError(f"Nothing draws figures here: no entry point 'draw' in the group {_DRAWING!r}.")
        name, tables, own = self.figure()
        drawn: Any = found[0].load()(name, tables, {**own, **options})
        figure: Figure = drawn.figure
        return figure


def _plain(value: Any) -> Any:
    """Return the Python number in a NumPy or torch scalar; other values as they are."""
    return value.item() if hasattr(value, "dtype") and getattr(value, "shape", None) == () else value
