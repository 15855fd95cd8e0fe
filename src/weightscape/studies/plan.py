"""The values of planning: rows, tasks and the plan that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from weightscape.operation import Operation
from weightscape.studies.binding import Bound
from weightscape.studies.document import Location
from weightscape.studies.specification import Study


@dataclass(frozen=True)
class Task:
    """One computation.

    Attributes:
        key: Hash of everything that determines the result.
        operation: What is done.
        settings: Its validated settings.
        inputs: What fills its parameters; a tuple for a population.
        content: Fingerprints of data and user code.
    """

    key: str
    operation: Operation
    settings: BaseModel
    inputs: Mapping[str, Bound | tuple[Bound, ...]]
    content: Mapping[str, str]

    def upstream(self) -> Iterator[Bound]:
        """Yield everything it takes."""
        for value in self.inputs.values():
            yield from value if isinstance(value, tuple) else (value,)


@dataclass(frozen=True)
class Row:
    """One row of a stage.

    Attributes:
        settings: Its options, and the settings of its inputs under the names of the parameters.
        key: Its task, or ``file:HASH`` for weights from a file.
        path: The file, for weights from a file.
        places: Where options of the grid were written.
    """

    settings: Mapping[str, Any]
    key: str
    path: str | None = None
    places: Mapping[str, Location] = field(default_factory=dict)


@dataclass(frozen=True)
class StagePlan:
    """The planned rows of a stage.

    Attributes:
        rows: The rows.
        outputs: The outputs that each of them will have: artefact type by field.
        operation: What makes them; None for files, and for what is not installed here.
    """

    rows: tuple[Row, ...]
    outputs: Mapping[str, str]
    operation: Operation | None = None

    def made(self, row: Row, output: str) -> dict[str, Any]:
        """Return the settings of a row as what takes one of its outputs sees them: with the architecture it has."""
        return dict(row.settings) if self.operation is None else self.operation.made(output, row.settings)


@dataclass(frozen=True)
class Plan:
    """What a study amounts to.

    Attributes:
        study: The study.
        stages: Planned rows by stage, in an order in which the stages can be computed.
        tasks: The distinct tasks by key, in an order in which they can be computed.
    """

    study: Study
    stages: Mapping[str, StagePlan]
    tasks: Mapping[str, Task]
