"""Measures of similarity by name: the decorator that registers one, and how it is found. Loads no torch.

A measure is a small decorated function: of two layers' geometries (``grams``), of the moments of two layers' channels
(``moments``), of two matrices of activations (``activations``) or of two networks' outputs (``outputs``). What it
declares (range, symmetry, invariances, samples needed, cost, source) is in the docs and is held to by property tests.

A new measure is one function in ``measures/``, one line in each list of ``names.py``, one test against an
independent computation, and one line in the documentation; a test fails where one of them is missing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any, get_args

from weightscape.errors import DataError, ModelError, WeightscapeError, did_you_mean
from weightscape.similarity.declaration import Invariance as Invariance
from weightscape.similarity.declaration import Kind as Kind
from weightscape.similarity.declaration import Measure as Measure
from weightscape.similarity.declaration import Sums as Sums
from weightscape.similarity.declaration import UndefinedMeasure as UndefinedMeasure
from weightscape.similarity.declaration import check_options as check_options
from weightscape.similarity.names import HOMES
from weightscape.similarity.names import MeasureName as MeasureName
from weightscape.source import import_dotted

_IMPLIED: dict[str, tuple[Invariance, ...]] = {
    "invertible-linear": ("orthogonal", "isotropic-scale", "unit-permutation"),
    "orthogonal": ("unit-permutation",),
}
_REGISTERED: dict[str, Measure] = {}


def measure(
    name: str,
    *,
    kind: Kind = "similarity",
    low: float = 0.0,
    high: float = 1.0,
    symmetric: bool = True,
    invariances: Iterable[Invariance] = (),
    sums: Sums = "grams",
    minimum_samples: int = 2,
    sample_rule: str = "",
    biased: bool = True,
    cost: str,
    source: str,
) -> Callable[[Callable[..., float]], Measure]:
    """Register the decorated function as a measure (:class:`~weightscape.similarity.declaration.Measure`).

    Args:
        name: The name in studies and tables.
        kind: Similarity or distance.
        low: Smallest possible value.
        high: Largest possible value.
        symmetric: Whether the order of the two representations matters not.
        invariances: What leaves the value; what one of them implies need not be written.
        sums: What the decorated function takes: two geometries, moments, two matrices, or two matrices of logits.
        minimum_samples: Fewer rows than these are refused.
        sample_rule: What else the number of samples must satisfy.
        biased: Whether its expectation depends on the number of samples.
        cost: Operations for n samples and d units.
        source: The paper.

    Raises:
        WeightscapeError: If the name is taken, or an invariance is not known.
    """
    unknown = sorted(set(invariances) - set(get_args(Invariance)))
    if unknown:
        raise WeightscapeError(f"Measure {name!r}: {did_you_mean(unknown[0], get_args(Invariance))}")
    implied = [more for one in invariances for more in _IMPLIED.get(one, ())]

    def register(function: Callable[..., float]) -> Measure:
        other = _REGISTERED.get(name)
        if other is not None and _identity(other.function) != _identity(function):
            raise WeightscapeError(f"A measure's name is used once; {name!r} is {_identity(other.function)} already.")
        _REGISTERED[name] = Measure(
            name, kind, low, high, symmetric, frozenset([*invariances, *implied]),
            minimum_samples, sample_rule, biased, cost, source, {sums: function},
        )  # fmt: skip
        return _REGISTERED[name]

    return register


def measure_names() -> tuple[str, ...]:
    """Return the names of the bundled measures and of those registered since, without loading any."""
    return tuple(dict.fromkeys([*HOMES, *_REGISTERED]))


def find_measure(name: str) -> Measure:
    """Return a measure by its name, or the user's own at its dotted path (``module.function``).

    Raises:
        DataError: If there is none; the message has the closest name.
    """
    if name not in _REGISTERED and name in HOMES:
        importlib.import_module(f"weightscape.similarity.measures.{HOMES[name]}")
    if name in _REGISTERED:
        return _REGISTERED[name]
    try:
        found = import_dotted(name) if "." in name or ":" in name else None
    except ModelError as error:
        raise DataError(f"No measure {name!r}: {error}") from error
    if not isinstance(found, Measure):
        raise DataError(
            f"{name!r} is no measure. {did_you_mean(name, measure_names())} "
            "A measure of your own is a function decorated with @measure, named by its dotted path: module.function."
        )
    return found


def _identity(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"
