"""Steps and settings in the names of files. Loads no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from weightscape.errors import WeightscapeError
from weightscape.step import Step

_EPOCHS, _ITERATIONS = r"(?:epochs?|ep)", r"(?:global_?step|steps?|iterations?|iters?|it)"
# After a digit "e" is that of a number: lr1e-3.pt is not of epoch 3.
_EPOCH = rf"(?:(?<![A-Za-z]){_EPOCHS}|(?<![A-Za-z\d.])e)[=_ -]?(?P<epoch>\d+)"
_ITERATION = rf"(?<![A-Za-z]){_ITERATIONS}[=_ -]?(?P<iteration>\d+)"
# What is no step: the number of a seed or of one run of several, digits of a name (resnet18, v2) or after a point.
_NO_STEP = r"(?<![A-Za-z\d])(?<!\d\.)(?<!\de-)(?<!seed[=_ -])(?<!run[=_ -])(?<!fold[=_ -])(?<!rank[=_ -])"
_DEFAULTS = (
    # Lightning's epoch=0-step=391: after one epoch, so that the iterations are the step.
    re.compile(r"epoch=\d+-step=(?P<iteration>\d+)[^/]*$"),
    re.compile(r"(?:^|/)(?=\d)(?:(?P<epoch>\d+)ep)?(?:(?P<iteration>\d+)it)?(?:\.[A-Za-z]\w*)+$"),
    re.compile(rf"{_EPOCH}[^/]*$", re.IGNORECASE),
    re.compile(rf"{_ITERATION}[^/]*$", re.IGNORECASE),
    re.compile(rf"(?<![\d.])(?P<epoch>\d+)[_ -]?{_EPOCHS}(?![A-Za-z])[^/\d]*$", re.IGNORECASE),
    re.compile(rf"(?<![\d.])(?P<iteration>\d+)[_ -]?{_ITERATIONS}(?![A-Za-z])[^/\d]*$", re.IGNORECASE),
    re.compile(rf"{_NO_STEP}(?P<iteration>\d+)(?![A-Za-z\d])[^/\d]*$", re.IGNORECASE),
)
_PARTS = ("epoch", "iteration")
_HOLE = re.compile(r"\{(\w+)\}|(\*)")


@dataclass(frozen=True)
class FileName:
    """What the path of a file says.

    Attributes:
        step: Its step; None if the path has none.
        settings: The other named groups.
        folder: The folder in which the path stops being the same for all steps of a run.
    """

    step: Step | None
    settings: dict[str, Any]
    folder: str


class StepPattern:
    """Reads steps and settings from paths.

    Args:
        text: A regular expression with named groups, of which ``epoch`` and ``iteration`` make the step; a template
            such as ``seed{seed}/ep{epoch}.pt``; a step such as ``15ep``, which all files then have; or None, which
            knows ``12ep``, ``ep12``, ``epoch=12``, ``step_500``, ``500it`` and takes a lone number for iterations,
            unless it stands after a letter or is that of a seed, run, fold or rank.

    Raises:
        WeightscapeError: If it is none of these.
    """

    def __init__(self, text: str | None = None) -> None:
        self._constant: Step | None = None
        self._patterns: tuple[re.Pattern[str], ...] = _DEFAULTS
        if text is None:
            return
        if "(?P<" in text or "{" in text:
            self._patterns = (_compiled(text),)
        else:
            self._constant, self._patterns = _constant(text), ()

    def read(self, path: str) -> FileName:
        """Return what a path says, with ``/`` between its parts."""
        match = next((match for pattern in self._patterns if (match := pattern.search(path))), None)
        folder = path.rpartition("/")[0]
        if match is None:
            return FileName(self._constant, {}, folder)
        groups = {name: value for name, value in match.groupdict().items() if value is not None}
        starts = [match.start(name) for name in _PARTS if name in groups]
        if starts:
            folder = path[: min(starts)].rpartition("/")[0]
        settings = {name: _value(value) for name, value in groups.items() if name not in _PARTS}
        step = Step(**{name: int(groups[name]) for name in _PARTS if name in groups}) if starts else None
        return FileName(step, settings, folder)


def _compiled(text: str) -> re.Pattern[str]:
    expected = (
        "expected a regular expression with groups such as (?P<epoch>\\d+), a template such as "
        f"'seed{{seed}}/ep{{epoch}}.pt', or a step such as '15ep', received {text!r}"
    )
    try:
        pattern = re.compile(text if "(?P<" in text else _from_template(text))
    except re.error as error:
        raise WeightscapeError(f"{expected}: {error}.") from error
    if not pattern.groupindex:
        raise WeightscapeError(f"{expected}.")
    return pattern


def _from_template(text: str) -> str:
    """Return the regular expression of a template; its end is the end of the path, with or without the suffix."""
    parts, position = [r"(?:^|.*?/)" if not text.startswith("/") else ""], 0
    for hole in _HOLE.finditer(text):
        parts.append(re.escape(text[position : hole.start()]))
        number = r"\d+" if hole[1] in _PARTS else r"[^/]+?"
        parts.append(f"(?P<{hole[1]}>{number})" if hole[1] else "[^/]*")
        position = hole.end()
    return "".join(parts) + re.escape(text[position:]) + r"(?:\.[A-Za-z]\w*)*$"


def _constant(text: str) -> Step:
    try:
        return Step.parse(text)
    except WeightscapeError as error:
        raise WeightscapeError(
            f"expected a step such as '15ep', a regular expression such as 'ep(?P<epoch>\\d+)' or a template such as "
            f"'ep{{epoch}}.pt', received {text!r}."
        ) from error


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
