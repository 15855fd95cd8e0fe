"""Operations without torch, for tests of the engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from weightscape.operation import Context, operation
from weightscape.results import Result

if TYPE_CHECKING:
    from weightscape.results import Table
    from weightscape.weights.algebra import Weights
    from weightscape.weights.population import Population

CALLS: list[str] = []


class Fast(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Literal["fast"]
    rate: float = 0.5


class Slow(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Literal["slow"]
    delay: int = 3


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    epochs: int = 10
    pace: Annotated[Fast | Slow, Field(discriminator="name")] = Fast(name="fast")


_DEFAULT = Settings()


class Source(BaseModel):
    """Content outside the study: a text file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str

    def fingerprint(self, data_root: Path | None = None) -> str:
        return (Path(data_root or ".") / self.path).read_text()


@dataclass(frozen=True)
class Made(Result):
    lines: Table
    other: Table
    value: float
    fit_seconds: float = 1.0


@dataclass(frozen=True)
class Joined(Result):
    total: float


@operation("toy-make", version=1)
def make(
    *,
    size: int,
    seed: int = 0,
    recipe: Settings = _DEFAULT,
    text: Source | None = None,
    fail: bool = False,
) -> Made:
    """Make lines."""
    import pandas

    CALLS.append(f"make {seed}")
    if fail:
        raise RuntimeError("asked to fail")
    lines = pandas.DataFrame({"step": range(size), "height": [seed + step / 10 for step in range(size)]})
    return Made(lines, lines, value=float(seed))


@operation("toy-join", version=1)
def join(source: Table, target: Table, *, size: int, weight: float = 1.0, context: Context) -> Joined:
    """Join two tables of lines."""
    context.progress(0.5, "adding")
    return Joined(float(source["height"].sum() + weight * target["height"].sum()) + size)


@operation("toy-once", version=1)
def once(lines: Table, *, factor: int = 1) -> Joined:
    """Use one table."""
    return Joined(float(lines["height"].sum() * factor))


@dataclass(frozen=True)
class Lines(Result):
    lines: Table


@operation("toy-again", version=1)
def again(lines: Table, start: Table | None = None, *, factor: int = 1) -> Lines:
    """Scale a table."""
    return Lines(lines.assign(height=lines["height"] * factor + (0 if start is None else start["height"])))


@dataclass(frozen=True)
class Snapshot(Result):
    weights: Weights


@operation("toy-snapshots", version=1)
def snapshots(*, size: int, seed: int = 0) -> Snapshot:
    """Make weights."""
    import torch

    return Snapshot({"w": torch.full((size,), float(seed))})


@dataclass(frozen=True)
class Pooled(Result):
    weights: Weights
    count: int


@operation("toy-pool", version=1)
def pool(members: Population) -> Pooled:
    """Average weights."""
    every = list(members)
    return Pooled({"w": sum(weights["w"] for weights in every) / len(every)}, len(every))
