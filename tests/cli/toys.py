"""Operations without torch, for tests of the command line."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict

from weightscape.data.specification import DataSpec
from weightscape.errors import Interrupted, ModelError
from weightscape.models.architecture import Architecture
from weightscape.operation import Context, operation
from weightscape.parameters import Positional
from weightscape.results import Result

if TYPE_CHECKING:
    from weightscape.results import Table
    from weightscape.weights.algebra import Weights


class Pace(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    rate: float = 0.5
    delay: int = 3


@dataclass(frozen=True)
class Made(Result):
    steps: Table
    test_accuracy: float
    work_seconds: float = 1.0


@dataclass(frozen=True)
class Joined(Result):
    total: float


@operation("cli-toy-make", version=1)
def make(
    *,
    size: int,
    seed: int = 0,
    method: Literal["a", "b"] = "a",
    pace: Pace = Pace(),  # noqa: B008 (frozen)
    fail_at: int | None = None,
) -> Made:
    """Make a table of steps."""
    import pandas

    if seed == fail_at:
        raise RuntimeError(f"asked to fail at {seed}")
    accuracy = [1 - pace.rate ** (step + 1) for step in range(size)]
    steps = pandas.DataFrame({"step": range(size), "validation_accuracy": accuracy, "test_accuracy": accuracy})
    return Made(steps, test_accuracy=accuracy[-1] - seed / 100)


@operation("cli-toy-join", version=1)
def join(source: Table, target: Table, *, weight: float = 1.0) -> Joined:
    """Add up two tables."""
    return Joined(float(source["step"].sum() + weight * target["step"].sum()))


@operation("cli-toy-wait", version=1)
def wait(*, seed: int = 0, context: Context) -> Joined:
    """Wait until asked to stop, but only the first time; go on afterwards."""
    assert context.partial is not None
    marker = context.partial / "begun"
    if marker.exists():
        return Joined(1.0)
    marker.touch()
    print("begun", flush=True)
    while not context.should_stop():
        time.sleep(0.01)
    raise Interrupted("saved")


@operation("cli-toy-deaf", version=1)
def deaf(*, seed: int = 0) -> Joined:
    """Spend minutes inside one call of a C library, where no Python signal handler runs."""
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
    return Joined(1.0)


@operation("cli-toy-explained", version=1)
def explained(*, loud: bool = False) -> Joined:
    """Explain oneself at length.

    - one,
    - two

    A sentence that goes on
    in the next line.

    Args:
        loud: Whether everyone hears it,
            also those in the ``next`` room.
    """
    return Joined(float(loud))


@operation("cli-toy-complain", version=1)
def complain() -> Joined:
    """Fail with a message of two lines, one of them indented."""
    raise ModelError("one thing\n  and another")


@dataclass(frozen=True)
class Named(Result):
    front: str
    back: str
    layers: str


@operation("cli-toy-glue", version=1)
def glue(
    front: Weights,
    back: Weights,
    *,
    front_layer: Annotated[str, Positional],
    back_layer: Annotated[str | None, Positional] = None,
    front_model: Architecture,
    back_model: Architecture,
    data: DataSpec,
) -> Named:
    """Tell two networks apart.

    Args:
        front: The first network.
        back: The second network.
        front_layer: Where the first one ends.
        back_layer: Where the second one begins; there as well by default.
        front_model: Architecture of the first.
        back_model: Architecture of the second.
        data: The data set.
    """
    return Named(front_model.name, back_model.name, f"{front_layer}-{back_layer or front_layer}")
