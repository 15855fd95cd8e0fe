"""Open the networks of a workspace in one line, without reading their weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from weightscape.errors import Problem, SpecificationError, StoreError
from weightscape.parameters import Input
from weightscape.step import Step
from weightscape.studies.binding import bind
from weightscape.studies.plan import Row
from weightscape.studies.reference import Reference
from weightscape.studies.relation import matching
from weightscape.studies.sources import Sources
from weightscape.studies.workspace.store import Store, workspace_folder

if TYPE_CHECKING:
    from weightscape.weights.algebra import Weights
    from weightscape.weights.population import Population

_WHERE = "reference"


def trajectories(
    reference: str,
    *,
    where: str | None = None,
    step: str | Step | None = None,
    workspace: str | Path | Store | None = None,
    unfinished: Literal["refuse", "skip"] = "refuse",
) -> Population:
    """Open the trajectories, or the weights, of a stage with their settings; weights are read when they are looked at.

    The reference is written as everywhere: ``study/stage``, with a field, a step and a condition where they are needed
    (``study/stage.trajectory@15ep?seed < 3``), the beginning of a key, or a path of files.

    Args:
        reference: What to open.
        where: Condition on the settings of the rows, instead of one after ``?``: ``seed < 3 and recipe.lr = 0.1``.
        step: Step of which the weights are meant, instead of one after ``@``: ``15ep``, ``first``, ``last``.
        workspace: The workspace; the current one by default.
        unfinished: What to do about rows without a result: refuse, or leave them out.

    Raises:
        SpecificationError: If there is nothing of that name, or the condition cannot be evaluated.
        StoreError: If rows have no result yet, there is none for which the condition holds, or a step was not kept.
    """
    from weightscape.weights.population import Member, Population

    store = workspace if isinstance(workspace, Store) else Store(workspace_folder(workspace))
    parsed = _parsed(reference, where, step)
    table = Sources(store).table(parsed, _WHERE)
    field = bind(Input("trajectories", "Population"), parsed, table.outputs, _WHERE)
    if isinstance(field, Problem):
        raise SpecificationError([field])
    rows = _chosen(list(table.rows), parsed)
    missing = [row for row in rows if row.path is None and store.get(row.key) is None]
    if missing and unfinished == "refuse":
        raise StoreError(
            f"{len(missing)} of {len(rows)} rows of {reference!r} have no result yet, the first is {missing[0].key}. "
            "Run the study, or leave them out: unfinished='skip'."
        )
    kept = [row for row in rows if row not in missing]
    if not kept:
        raise StoreError(f"None of the rows of {reference!r} has a result.")
    population = Population([Member(_label(row), _content(row, field, store), table.made(row, field)) for row in kept])
    return population if parsed.step is None else population.at(parsed.step)


def _parsed(text: str, where: str | None, step: str | Step | None) -> Reference:
    """Return the reference with a condition and a step that were given apart.

    Raises:
        SpecificationError: If one of them is given twice or makes no sense.
    """
    parsed = Reference.parse(text, _WHERE)
    for name, inside, apart in (("condition", parsed.where, where), ("step", parsed.step, step)):
        if inside is not None and apart is not None:
            received = f"{inside!r} and {str(apart)!r}"
            raise SpecificationError([Problem(_WHERE, f"one {name}", received, "Write it once.")])
    if step is not None:
        head, asks, condition = text.partition("?")
        parsed = Reference.parse(f"{head}@{step}{asks}{condition}", _WHERE)
    return parsed if where is None else Reference(**{**vars(parsed), "where": where})


def _chosen(rows: list[Row], reference: Reference) -> list[Row]:
    try:
        kept = matching([dict(row.settings) for row in rows], reference.where, "row")
    except ValueError as error:
        expected = "a condition on the settings of the rows"
        raise SpecificationError([Problem(_WHERE, expected, repr(reference.where), f"{error}.")]) from error
    if not kept:
        raise StoreError(f"The condition {reference.where!r} holds for none of {len(rows)} rows.")
    return [rows[position] for position in kept]


def _label(row: Row) -> str:
    return row.path or row.key[:8]


def _content(row: Row, field: str, store: Store) -> Any:
    from weightscape.weights.files import load_weights

    if row.path is not None:
        return partial(load_weights, Path(row.path).absolute())
    record = store.get(row.key)
    assert record is not None
    if record.outputs.get(field) == "Trajectory":
        return record.artefact(field)
    read: Callable[[], Weights] = partial(record.artefact, field)
    return read
