"""Rows of settings as relations: join, filter, order, by one SQL expression.

DuckDB evaluates the expression over relations named after the parameters, with access to files and the network off and
the configuration locked. Results are in the order of the rows, whatever DuckDB's own order is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightscape.errors import did_you_mean

if TYPE_CHECKING:
    import duckdb
    import pyarrow

ROW = "_row"
_UNKNOWN = re.compile(
    r'Table "(?P<table>[^"]+)" does not have a column named "(?P<name>[^"]+)"'
    r'|Referenced column "(?P<column>[^"]+)" not found'
)
"""What DuckDB says of columns that do not exist. Its own candidates are those of similar letters alone."""
MOST_ROWS = 100_000
"""Rows that a stage may have; more would not be planned in a minute and are a slip in a grid or a join."""
Settings = dict[str, Any]


def join(relations: Mapping[str, Sequence[Settings]], where: str | None) -> list[tuple[int, ...]]:
    """Return the combinations of rows for which the condition holds.

    Args:
        relations: Settings of the rows of each relation, by its name.
        where: An SQL condition such as ``source.seed < 3 and target.seed = source.seed + 3``; None keeps all.

    Returns:
        For each combination one position per relation, in lexicographic order.

    Raises:
        ValueError: If the condition is not one SQL expression over the columns of the relations that is true or false,
            or there are more than :data:`MOST_ROWS` combinations.
    """
    if where is None:
        sizes = [len(rows) for rows in relations.values()]
        if math.prod(sizes) > MOST_ROWS:
            raise ValueError(f"without a condition these are more than {MOST_ROWS:,} combinations")
        return _product(sizes)
    if any(not rows for rows in relations.values()):
        return []
    import duckdb

    try:
        return _filtered(relations, where)
    except duckdb.Error as error:
        raise ValueError(_in_words(str(error), relations)) from error


def _in_words(message: str, relations: Mapping[str, Sequence[Settings]]) -> str:
    """Return what DuckDB says of a condition; of columns that do not exist, with those that do."""
    text = message.removeprefix("Binder Error: ").strip()
    unknown = _UNKNOWN.search(text)
    if unknown is None:
        return text
    table, name = unknown["table"], unknown["name"] or unknown["column"]
    chosen = [relations[table]] if table in relations else list(relations.values())
    names = {column for rows in chosen for row in rows for column in row}
    return f"{unknown[0]} ({did_you_mean(name, names).rstrip('.') or 'it has none'})"


def matching(rows: Sequence[Settings], where: str | None, name: str = "row") -> list[int]:
    """Return the positions of the rows for which a condition on their columns holds.

    Raises:
        ValueError: As :func:`join`.
    """
    return [positions[0] for positions in join({name: rows}, where)]


def _product(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    combinations: list[tuple[int, ...]] = [()]
    for size in sizes:
        combinations = [(*head, position) for head in combinations for position in range(size)]
    return combinations


def _filtered(relations: Mapping[str, Sequence[Settings]], where: str) -> list[tuple[int, ...]]:
    import duckdb

    connection = duckdb.connect(":memory:", config={"enable_external_access": "false", "threads": "1"})
    connection.execute("SET lock_configuration = true")
    _check_repeatable(connection, where)
    joined: duckdb.DuckDBPyRelation | None = None
    for name, rows in relations.items():
        relation = connection.from_arrow(table_of(rows, numbered=True)).set_alias(name)
        joined = relation if joined is None else joined.cross(relation)
    assert joined is not None
    numbers = [duckdb.SQLExpression(f'"{name}"."{ROW}"') for name in relations]
    condition = duckdb.SQLExpression(where)
    checked = joined.project(*numbers, condition.alias("_kept"))
    if str(checked.types[-1]) not in {"BOOLEAN", '"NULL"'}:
        raise ValueError(f"the condition is of type {checked.types[-1]}, not true or false")
    kept = joined.filter(condition).project(*numbers).limit(MOST_ROWS + 1).fetchall()
    if len(kept) > MOST_ROWS:
        raise ValueError(f"it holds for more than {MOST_ROWS:,} combinations")
    return sorted(tuple(int(number) for number in row) for row in kept)


def _check_repeatable(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """Check that a condition gives the same rows each time it is asked.

    Raises:
        ValueError: If it calls a function that does not depend on its arguments alone, such as ``random``.
    """
    called = {name.lower() for name in re.findall(r"(\w+)\s*\(", where)}
    query = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
    varying = called & {name for (name,) in connection.execute(query).fetchall()}
    if varying:
        raise ValueError(f"{min(varying)}() differs from call to call, but a condition depends on the settings alone")


def table_of(rows: Sequence[Settings], *, numbered: bool = False) -> pyarrow.Table:
    """Return rows as an Arrow table: nested settings become structs, columns of mixed types JSON text.

    Args:
        rows: Settings; keys that a row lacks are null.
        numbered: Whether to add the position as column ``_row``.
    """
    import pyarrow

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: column_of([row.get(name) for row in rows]) for name in names}
    if numbered:
        columns[ROW] = pyarrow.array(range(len(rows)), pyarrow.int64())
    return pyarrow.table(columns)


def column_of(values: list[Any]) -> pyarrow.Array:
    """Return values as an Arrow column; mixed types and numbers beyond 64 bits become JSON text."""
    import pyarrow

    try:
        return pyarrow.array(_without_empty(values))
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OverflowError, UnicodeEncodeError):
        if all(value is None or isinstance(value, dict) for value in values):
            return _structs(values)
        return pyarrow.array([_text(value) for value in values])


def _structs(values: list[dict[str, Any] | None]) -> pyarrow.Array:
    import pyarrow

    names = list(dict.fromkeys(name for value in values if value for name in value))
    fields = [column_of([value.get(name) if value else None for value in values]) for name in names]
    missing = pyarrow.array([value is None for value in values])
    return pyarrow.StructArray.from_arrays(fields, names=names, mask=missing)


def _without_empty(value: Any) -> Any:
    # DuckDB has no struct without fields; such a setting says nothing and becomes null.
    if isinstance(value, dict):
        return {name: _without_empty(member) for name, member in value.items()} or None
    if isinstance(value, list | tuple):
        return [_without_empty(member) for member in value]
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()  # half of a character, as JSON may hold it
    return None if value is None else json.dumps(value, sort_keys=True)
