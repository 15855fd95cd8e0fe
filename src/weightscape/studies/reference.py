"""How upstream results are named, everywhere the same.

``[STUDY/]STAGE[.FIELD][@STEP][?WHERE]``, a key or its prefix (``9f3a62c1[.FIELD][@STEP]``), or a path of weights
(``runs/a.safetensors``, ``./ep*.pt``) with an optional ``@STEP``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from weightscape.errors import Problem, SpecificationError, WeightscapeError
from weightscape.step import Step

_NAME = r"[A-Za-z][\w-]*"
_STAGE = re.compile(rf"(?:(?P<study>{_NAME}(?:/{_NAME})*)/)?(?P<stage>{_NAME})(?:\.(?P<field>\w+))?")
_KEY = re.compile(r"(?P<key>[0-9a-f]{6,32})(?:\.(?P<field>\w+))?")
_LATE_STEP = re.compile(r"@(first|last|\d+(ep|it)(\d+it)?)\s*$")
_PATH = re.compile(r"^[./~]|\.(safetensors|pt|pth|ckpt|bin|tar|pkl|pickle)$")


@dataclass(frozen=True)
class Reference:
    """A parsed reference.

    Attributes:
        kind: What `name` is: a stage, the prefix of a key, or a path.
        name: Stage name, key prefix or path.
        study: The study of a stage in another study of the same workspace.
        field: Output of the operation; bound by type when None.
        step: Step of a trajectory (``15ep``, ``first``, ``last``), which makes weights of it.
        where: Condition on the settings of the rows.
    """

    kind: Literal["stage", "key", "path"]
    name: str
    study: str | None = None
    field: str | None = None
    step: str | None = None
    where: str | None = None

    @classmethod
    def parse(cls, text: str, where: str = "reference") -> Reference:
        """Read a reference.

        Args:
            text: The reference.
            where: Where it was written, for the error.

        Raises:
            SpecificationError: If the text is not a reference.
        """
        head, asks, condition = text.partition("?")
        head, at, step = head.strip().rpartition("@")
        if not at or "/" in step:  # an "@" in the name of a folder
            head, at, step = f"{head}{at}{step}", "", ""
        if at and step not in {"first", "last"}:
            _check_step(step, where)
        if asks and not condition.strip():
            raise SpecificationError([Problem(where, "a condition after '?'", repr(text), "Write it, or remove '?'.")])
        if late := _LATE_STEP.search(condition):
            remedy = f"Write {f'{head}{late[0].strip()}?{condition[: late.start()]}'!r}."
            raise SpecificationError([Problem(where, "the step before '?'", repr(text), remedy)])
        common = {"step": step or None, "where": condition.strip() or None}
        if _PATH.search(head):
            return cls("path", head, **common)
        if match := _KEY.fullmatch(head):
            return cls("key", match["key"], field=match["field"], **common)
        if match := _STAGE.fullmatch(head):
            return cls("stage", match["stage"], study=match["study"], field=match["field"], **common)
        expected = (
            "a reference such as 'stage', 'stage.field@15ep', 'study/stage?seed = 1', six digits of a key, a path"
        )
        raise SpecificationError([Problem(where, expected, repr(text))])


def is_key(name: str) -> bool:
    """Return whether a reference of this name means the key of a result, as ``decade`` would."""
    return _KEY.fullmatch(name) is not None


def _check_step(step: str, where: str) -> None:
    try:
        Step.parse(step)
    except WeightscapeError as error:
        expected = "a step after '@': 12ep, 500it, 12ep50it, first or last"
        raise SpecificationError([Problem(where, expected, repr(step))]) from error
