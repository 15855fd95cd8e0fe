"""Base of the results that library functions return.

A result is a frozen dataclass: the answer and its evidence (standard errors, residuals, counts, policies), never a bare
tuple. Scalar fields are *metrics*: columns of the stage's table. Fields annotated with an artefact type
(``Weights``, ``Trajectory``, ``Permutation``, ``Table``) become files of the task's object in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
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

    def __init_subclass__(cls, **options: Any) -> None:
        """Keep the short text below: a dataclass would make one of its own, with every number of every tensor."""
        super().__init_subclass__(**options)
        if "__repr__" not in vars(cls):
            cls.__repr__ = cls.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        """Return the fields by name; of tables and weights, how many rows and tensors they have."""
        parts = [f"{field.name}={_brief(getattr(self, field.name))}" for field in fields(self) if field.repr]
        return f"{type(self).__name__}({', '.join(parts)})"

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


def _brief(value: Any) -> str:
    """Return a value on one line; tables, arrays and mappings as their sizes."""
    shape = getattr(value, "shape", ())
    if shape:
        return f"<{' x '.join(map(str, shape))} {type(value).__name__}>"
    if isinstance(value, Mapping) and any(hasattr(entry, "shape") for entry in value.values()):
        return "<1 tensor>" if len(value) == 1 else f"<{len(value)} tensors>"
    return repr(value)


def _plain(value: Any) -> Any:
    """Return the Python number in a NumPy or torch scalar; other values as they are."""
    return value.item() if hasattr(value, "dtype") and getattr(value, "shape", None) == () else value
