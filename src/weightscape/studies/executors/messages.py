"""What a run and its worker processes say to each other; each message is pickled into a pipe between the two."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from weightscape.studies.executors.outcomes import Outcome
from weightscape.studies.executors.transport import Parcel
from weightscape.studies.executors.workplaces import Workplace
from weightscape.together import Stack


@dataclass(frozen=True)
class Setup:
    """To a worker, first of all.

    Attributes:
        parent: Process that it must not outlive.
        store: The workspace.
        data_root: Folder of data sets.
        workplace: Its device and threads.
        stack: Whether tasks that can be computed together are.
    """

    parent: int
    store: Path
    data_root: Path | None
    workplace: Workplace
    stack: Stack = "auto"


@dataclass(frozen=True)
class Order:
    """To a worker: a task to compute, or several to compute together."""

    parcels: tuple[Parcel, ...]


@dataclass(frozen=True)
class Halt:
    """To a worker: save what the running task has, and leave it."""


@dataclass(frozen=True)
class Ready:
    """From a worker that has started."""


@dataclass(frozen=True)
class Begun:
    """From a worker that has received an order and begins with it."""


@dataclass(frozen=True)
class Share:
    """From a worker: how far a task is."""

    key: str
    share: float
    text: str


@dataclass(frozen=True)
class Verdict:
    """From a worker: what became of a task; None when another process computes it."""

    key: str
    outcome: Outcome | None


Request: TypeAlias = Order | Halt
Reply: TypeAlias = Ready | Begun | Share | Verdict
