"""Exceptions: what was expected, what came, what to do.

Every error a user can cause derives from :class:`WeightscapeError`. Mistakes in a study or on the command line are
*collected* as :class:`Problem` values and raised together, so that one run shows all of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass


class WeightscapeError(Exception):
    """Base of all errors raised on purpose by this package."""


class DataError(WeightscapeError):
    """A data set is missing, damaged or does not fit the request."""


class ModelError(WeightscapeError):
    """A model cannot be built, or a layer or tensor of it does not exist or does not fit."""


class TrainingError(WeightscapeError):
    """A run cannot start as asked, or its loss is no longer finite."""


class SymmetryError(WeightscapeError):
    """A permutation does not fit the model it is applied to, or does not preserve its function."""


class StoreError(WeightscapeError):
    """The workspace cannot be read or written, or one of its objects is damaged."""


class Interrupted(WeightscapeError):
    """The user asked to stop; the work so far is saved and the same command continues it."""


@dataclass(frozen=True)
class Problem:
    """One mistake in the user's input.

    Attributes:
        where: Place of the mistake: ``file:line:column (path.to.key)`` or the command-line flag.
        expected: What would have been right.
        received: What was found instead.
        remedy: What to do about it; empty where `expected` says it already.
    """

    where: str
    expected: str
    received: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: expected {self.expected}, received {self.received}."
        return f"{text} {self.remedy}" if self.remedy else text


class SpecificationError(WeightscapeError):
    """All mistakes found in a study, a reference or a set of options.

    Attributes:
        problems: The mistakes, in the order in which they were found.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        super().__init__("\n".join([f"{head}; nothing was started.", *(f"- {problem}" for problem in self.problems)]))


_MOST_WORDS = 10
_MOST_NAMES = 30
"""Names that a message lists; a table may have a hundred columns."""


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``Did you mean 'x'?`` for the closest candidate, or the list of candidates when none is close.

    Where none is very close, those are named that have the name as one of their words. Of a long list, those that
    contain the name are named, or else the first ones.

    >>> did_you_mean("optimiser", ["optimizer", "schedule"])
    "Did you mean 'optimizer'?"
    >>> did_you_mean("cka", ["rbf-cka", "linear-cka", "l2"])
    "Did you mean 'linear-cka' or 'rbf-cka'?"
    >>> did_you_mean("q", ["mlp", "conv8"])
    "Known: 'conv8', 'mlp'."
    """
    known = sorted(set(candidates))
    words = [candidate for candidate in known if len(name) > 1 and name in re.split(r"[-_. /]", candidate)]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8 if words else 0.6)
    if not close and 0 < len(words) <= _MOST_WORDS:
        return f"Did you mean {' or '.join(map(repr, words))}?"
    if close:
        return f"Did you mean {close[0]!r}?"
    likely = [candidate for candidate in known if name and name.casefold() in candidate.casefold()]
    shown = known if len(known) <= _MOST_NAMES else (likely or known)[:_MOST_NAMES]
    more = f" and {len(known) - len(shown)} more" if len(shown) < len(known) else ""
    return f"Known: {', '.join(map(repr, shown))}{more}." if known else ""
