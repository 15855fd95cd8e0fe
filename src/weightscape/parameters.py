"""What the parameters of operations declare: artefacts, stood for by name so that no torch is loaded, and marks."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, get_args

from weightscape.errors import WeightscapeError


class Artefact:
    """Base of the stand-ins for artefact types, which are resolved by name so that no torch is loaded."""


ARTEFACTS: dict[str, type[Artefact]] = {
    name: type(name, (Artefact,), {}) for name in ("Weights", "Trajectory", "Population", "Permutation", "Table")
}

# Parameters name relations in a `where` expression; these words cannot (duckdb_keywords(), all but
# the unreserved, and a few more that other dialects reserve).
SQL_KEYWORDS = frozenset(
    """
    all analyse analyze and anti any array as asc asof asymmetric at authorization between bigint binary bit
    boolean both by case cast char character check coalesce collate collation column columns concurrently
    constraint create cross date dec decimal default deferrable desc describe distinct do else end except exists
    extract false fetch float for foreign freeze from full generated glob group grouping grouping_id having
    ilike in index initially inner inout int integer intersect interval into is isnull join key lambda lateral
    leading left like limit map national natural nchar none not notnull null nullif numeric offset on only or
    order out outer overlaps overlay pivot pivot_longer pivot_wider placing position positional precision
    primary qualify real references returning right row select semi setof show similar smallint some struct
    substring summarize symmetric table tablesample then time timestamp to trailing treat trim true try_cast
    tuple union unique unpack unpivot user using values varchar variadic verbose when where window with
    xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize
    xmltable
    """.split()  # noqa: SIM905 (a wall of quotes says less)
)


class Positional:
    """Mark of a setting that the one-line command takes by its place, after the inputs.

    >>> from typing import Annotated
    >>> Layer = Annotated[str, Positional]  # weightscape stitch FRONT BACK FRONT_LAYER
    """


class Inherited:
    """Mark of a setting with the default None that inputs supply where they can, as they do for required settings."""


@dataclass(frozen=True)
class Input:
    """A positional parameter: an artefact that an upstream task made.

    Attributes:
        name: Name of the parameter.
        artefact: Name of its artefact type; ``Population`` takes many weights at once.
        optional: Whether the operation runs without it.
    """

    name: str
    artefact: str
    optional: bool = False


def is_artefact(hint: Any) -> bool:
    """Return whether an annotation is an artefact type."""
    return isinstance(hint, type) and issubclass(hint, Artefact)


def input_of(operation_name: str, parameter: inspect.Parameter, hint: Any) -> Input:
    """Return the input that a positional parameter declares.

    Raises:
        WeightscapeError: If its annotation is no artefact type, or ``where`` could not speak of its name.
    """
    artefacts = [member for member in (hint, *get_args(hint)) if is_artefact(member)]
    if len(artefacts) != 1:
        raise WeightscapeError(
            f"Operation {operation_name!r}: the positional parameter {parameter.name!r} must be annotated with one of "
            f"{', '.join(ARTEFACTS)}; settings are keyword-only (write them after '*')."
        )
    if parameter.name.lower() in SQL_KEYWORDS:
        raise WeightscapeError(
            f"Operation {operation_name!r}: the parameter {parameter.name!r} is an SQL keyword and could not be used "
            "in a 'where'; choose another name."
        )
    return Input(parameter.name, artefacts[0].__name__, optional=parameter.default is None)
