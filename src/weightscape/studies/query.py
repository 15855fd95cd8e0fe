"""One SELECT over all tables of a workspace.

DuckDB answers it in memory. It sees the tables as objects of this process: access to files, the network and extensions
is off and the configuration is locked, so that a query, wherever it comes from, can read nothing else.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightscape.errors import Problem, SpecificationError
from weightscape.studies.relation import table_of
from weightscape.studies.tables import flattened
from weightscape.studies.workspace.store import Store

if TYPE_CHECKING:
    import duckdb
    import pandas
    import pyarrow

RESULTS = "results"
"""The table of all results of the workspace, whatever study they are of."""
_SETTINGS: dict[str, Any] = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "python_enable_replacements": "false",
}
_LISTED = 12


def query(workspace: Store | str | Path, sql: str) -> pandas.DataFrame:
    """Ask one SELECT over the tables of a workspace.

    A stage is the table ``study.stage``, its detail tables are ``study."stage.detail"``, both as they were last
    written; names with a hyphen go into double quotes (``"digits-transfer".trained``). In a workspace of one study its
    name can be left out. The table ``results`` has a row for every result there is, with its settings, metrics,
    ``seconds``, ``environment.device`` and the like.

    Args:
        workspace: The workspace or its folder.
        sql: The query, in DuckDB's dialect.

    Raises:
        SpecificationError: If it is not one SELECT over these tables.
    """
    store = workspace if isinstance(workspace, Store) else Store(workspace)
    frame: pandas.DataFrame = answer(store, sql).to_pandas(integer_object_nulls=True)
    return frame


def answer(store: Store, sql: str) -> pyarrow.Table:
    """Return the answer to a query as an Arrow table; see :func:`query`.

    Raises:
        SpecificationError: If it is not one SELECT over the tables of the workspace.
    """
    import duckdb

    connection = duckdb.connect(":memory:", config=_SETTINGS)
    _check_single(connection, sql)
    names = list(_add_tables(connection, store, sql))
    connection.execute("SET lock_configuration = true")
    try:
        return _without_decimals(connection.sql(sql).to_arrow_table())
    except duckdb.Error as error:
        raise SpecificationError([_problem(error, names)]) from error


def tables(store: Store) -> dict[str, list[str]]:
    """Return the columns of the tables that a query can name, by the name as the query must write it."""
    from pyarrow import ArrowException, parquet

    found: dict[str, list[str]] = {RESULTS: results_table(store).column_names}
    for study, name, file in _files(store):
        with suppress(OSError, ArrowException):
            found[f"{_quoted(study)}.{_quoted(name)}"] = parquet.read_schema(file).names
    return found


def _check_single(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Check that a text is one SELECT.

    Raises:
        SpecificationError: If it is not.
    """
    import duckdb

    expected = "one SELECT"
    if any("\ud800" <= letter <= "\udfff" for letter in sql):  # what the shell gave was not UTF-8
        raise SpecificationError([Problem("SQL", expected, ascii(sql), "It has bytes that are no UTF-8.")])
    try:
        kinds = [str(statement.type).rpartition(".")[2].upper() for statement in connection.extract_statements(sql)]
    except duckdb.Error as error:
        raise SpecificationError([Problem("SQL", expected, repr(sql), _said(error))]) from error
    if len(kinds) != 1:
        raise SpecificationError([Problem("SQL", expected, f"{len(kinds)} statements" if kinds else "none")])
    if kinds != ["SELECT"]:
        remedy = "Only SELECT is possible: a query cannot change, read or write anything but show tables."
        raise SpecificationError([Problem("SQL", expected, kinds[0].removesuffix("_STATEMENT"), remedy)])


def _add_tables(connection: duckdb.DuckDBPyConnection, store: Store, sql: str) -> Iterator[str]:
    import pyarrow
    from pyarrow import dataset

    for number, (study, name, file) in enumerate(_files(store)):
        try:
            connection.register(f"_{number}", dataset.dataset(file))
        except (OSError, pyarrow.ArrowException):  # damaged: it is written anew by the next run of its study
            continue
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(study)}")
        connection.execute(f'CREATE VIEW {_quoted(study)}.{_quoted(name)} AS SELECT * FROM "_{number}"')
        yield f"{_quoted(study)}.{_quoted(name)}"
    if re.search(rf"\b({RESULTS}|tables)\b", sql, re.IGNORECASE):  # it takes a look at every result
        connection.register(RESULTS, results_table(store))
    yield RESULTS
    studies = store.study_names()
    if len(studies) == 1:
        text = f"{_quoted(studies[0])},main".replace("'", "''")
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(studies[0])}")
        connection.execute(f"SET search_path = '{text}'")


def _files(store: Store) -> Iterator[tuple[str, str, Path]]:
    """Yield study, table and file of every table that has been written."""
    for study in store.study_names():
        for file in sorted(store.study_folder(study).glob("*.parquet")):
            yield study, file.stem, file


def results_table(store: Store) -> pyarrow.Table:
    """Return a row for every result of a workspace: key, operation, settings, metrics, seconds, environment."""
    import pyarrow

    rows = [_row(record.content) for record in store.records()]
    return table_of(rows) if rows else pyarrow.table({"key": pyarrow.array([], pyarrow.string())})


def _row(content: dict[str, Any]) -> dict[str, Any]:
    head = {"key": content["key"], "operation": content["operation"], "version": content["version"]}
    seconds = content["seconds"]
    rest = {f"seconds.{name}": value for name, value in seconds.items() if name != "total"}
    surroundings = {f"environment.{name}": value for name, value in content["environment"].items()}
    settings = flattened(content["settings"])
    return {**head, **settings, **content["metrics"], "seconds": seconds["total"], **rest, **surroundings}


def _without_decimals(table: pyarrow.Table) -> pyarrow.Table:
    """Return a table with numbers that pandas and JSON know; a sum of integers is one where it is not too large."""
    import pyarrow

    columns = []
    for column in table.columns:
        if pyarrow.types.is_decimal(column.type):
            try:
                column = column.cast(pyarrow.float64() if column.type.scale else pyarrow.int64())
            except pyarrow.ArrowInvalid:
                column = column.cast(pyarrow.float64())
        columns.append(column)
    return pyarrow.table(columns, names=table.column_names)


def _quoted(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_]\w*", name) and name.lower() not in _reserved_words()
    return name if plain else '"' + name.replace('"', '""') + '"'


@functools.cache
def _reserved_words() -> frozenset[str]:
    """Return the words that mean something else in a query unless they are quoted, such as ``all`` and ``order``."""
    import duckdb

    with duckdb.connect(":memory:", config=_SETTINGS) as connection:
        found = connection.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'")
        return frozenset(str(word) for (word,) in found.fetchall())


def _problem(error: duckdb.Error, names: list[str]) -> Problem:
    import duckdb

    expected = "a query over the tables of the workspace"
    if isinstance(error, duckdb.PermissionException):
        return Problem("SQL", expected, "one that reaches for something else", _said(error))
    if isinstance(error, duckdb.CatalogException) and (match := re.search(r"Table with name (\S+)", str(error))):
        close = difflib.get_close_matches(match[1], names, n=1, cutoff=0.4)
        more = ", ..." if len(names) > _LISTED else ""
        hint = f"Did you mean {close[0]}? " if close else ""
        return Problem("SQL", expected, repr(match[1]), f"{hint}The tables are {', '.join(names[:_LISTED])}{more}.")
    return Problem("SQL", expected, "one that cannot be answered", _said(error))


def _said(error: Exception) -> str:
    """Return DuckDB's message on one line, without its picture of the query."""
    lines = str(error).partition("\n\nLINE")[0].strip().splitlines()
    return " ".join(line.rstrip("!") if line.endswith("?") else f"{line.rstrip('.!')}." for line in lines if line)
