"""Operations of which several tasks are computed at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightscape.errors import Interrupted, WeightscapeError
from weightscape.operation import Context, operation
from weightscape.results import Result
from weightscape.together import Publish, Together

CALLS: list[list[int]] = []


@dataclass(frozen=True)
class Grown(Result):
    height: int


def _label(settings: Any) -> str | None:
    return None if settings.kind == "loner" else str(settings.kind)


def grow_together(calls: Sequence[Mapping[str, Any]], *, context: Context, publish: Publish) -> None:
    """Grow several plants; say what has gone before in the folder of the group."""
    CALLS.append([call["seed"] for call in calls])
    assert context.partial is not None
    saved = context.partial / "begun"
    if any(call["kind"] == "slow" for call in calls) and not saved.exists():
        saved.write_text("")
        raise Interrupted("stopped on the way")
    for position, call in enumerate(calls):
        if call["kind"] == "poison":
            raise RuntimeError("all wither")
        if call["kind"] == "forgotten" and position:
            return
        made: Result | Exception = Grown(2 * call["seed"])
        if call["seed"] == 13:
            made = WeightscapeError("withered")
        publish(position, made, f"one of {len(calls)}")


@operation("toy-grow", version=1, together=Together(label=_label, function="tests.studies.group_toys.grow_together"))
def grow(*, seed: int, kind: str = "fern", context: Context) -> Grown:
    """Grow one plant."""
    CALLS.append([seed])
    if seed == 13:
        raise WeightscapeError("withered")
    return Grown(2 * seed)
