"""What a measure of similarity is: how it is computed, by what from, and what it declares. Loads no torch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from weightscape.errors import DataError, did_you_mean

Function = TypeVar("Function", bound=Callable[..., float])
VectorFunction = TypeVar("VectorFunction", bound=Callable[..., Any])

Kind: TypeAlias = Literal["similarity", "distance"]
Sums: TypeAlias = Literal["grams", "moments", "activations", "outputs"]
Invariance: TypeAlias = Literal[
    "orthogonal", "isotropic-scale", "translation", "invertible-linear", "unit-permutation", "sample-permutation"
]


class UndefinedMeasure(DataError):
    """A measure has no value for these representations: a layer that is constant, networks without mistakes, ..."""


@dataclass(frozen=True)
class Measure:
    """A registered measure.

    Attributes:
        name: The name in studies, on the command line and in tables.
        kind: A similarity is largest, a distance is 0, for equal representations.
        low: Smallest possible value.
        high: Largest possible value; infinite where there is none.
        symmetric: Whether exchanging the two representations leaves the value.
        invariances: Changes of either representation that leave the value; ``sample-permutation`` is of both alike.
        minimum_samples: Fewer rows than these are refused.
        sample_rule: What else the number of samples must satisfy; empty where nothing.
        biased: Whether its expectation depends on the number of samples, so that values at different numbers cannot be
            compared and unrelated representations do not score what they should.
        cost: Operations for n samples and d units, once sums and geometries are there.
        source: The paper.
        functions: How it is computed, by what from; the first is what shared sums are kept for.
        vectors: Empty, or the function that makes of one geometry the vector whose inner products are the measure.
    """

    name: str
    kind: Kind
    low: float
    high: float
    symmetric: bool
    invariances: frozenset[Invariance]
    minimum_samples: int
    sample_rule: str
    biased: bool
    cost: str
    source: str
    functions: dict[Sums, Callable[..., float]] = field(repr=False, compare=False)
    vectors: list[Callable[..., Any]] = field(default_factory=list, repr=False, compare=False)

    @property
    def sums(self) -> Sums:
        """What the measure is computed from in a comparison of many layers."""
        return next(iter(self.functions))

    @property
    def function(self) -> Callable[..., float]:
        """The function that was decorated."""
        return self.functions[self.sums]

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """The keyword-only parameters by name."""
        parameters = inspect.signature(self.function).parameters
        return {name: parameter for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}

    @property
    def needs_labels(self) -> bool:
        """Whether the right classes must be given as the option ``labels``."""
        return "labels" in self.options

    @property
    def best(self) -> float:
        """The value of a representation with itself: 0 of a distance, the largest of a similarity."""
        return 0.0 if self.kind == "distance" else self.high

    def __call__(self, first: Any, second: Any, **options: Any) -> float:
        """Return the value for two matrices of activations (n, d), the same n samples in the same order."""
        from weightscape.similarity.computing import of_activations

        return of_activations(self, first, second, **options)

    def from_grams(self, first: Any, second: Any, **options: Any) -> float:
        """Return the value for two Gram matrices or geometries of the same samples."""
        from weightscape.similarity.computing import of_grams

        return of_grams(self, first, second, **options)

    def from_moments(self, moments: Any, **options: Any) -> float:
        """Return the value for the joint moments of two layers' channels."""
        from weightscape.similarity.computing import of_moments

        return of_moments(self, moments, **options)

    def also_from(self, sums: Sums) -> Callable[[Function], Function]:
        """Register how the measure is computed from other sums as well, to the same value and with the same options."""

        def register(function: Function) -> Function:
            self.functions[sums] = function
            return function

        return register

    def embeds(self, function: VectorFunction) -> VectorFunction:
        """Register that the measure is the inner product of vectors, and how a geometry becomes one."""
        self.vectors.append(function)
        return function

    def function_of(self, sums: Sums) -> Callable[..., float]:
        """Return how the measure is computed from `sums`.

        Raises:
            DataError: If it cannot be; says from what it can.
        """
        if sums not in self.functions:
            possible = " or ".join(self.functions)
            raise DataError(f"The measure {self.name!r} is computed from {possible}; it cannot be had from {sums}.")
        return self.functions[sums]

    def clipped(self, value: float) -> float:
        """Return the value without what rounding put outside of the range.

        Raises:
            UndefinedMeasure: If the value is not a number.
        """
        if math.isnan(value):
            raise UndefinedMeasure(
                f"{self.name!r} has no value here (0/0): look for a constant or zero representation."
            )
        return min(max(value, self.low), self.high)


def check_options(measure: Measure, options: Mapping[str, Any]) -> None:
    """Check that a measure takes the options, and that none is missing which it must have.

    Raises:
        DataError: Naming the options that it takes.
    """
    for name in options:
        if name not in measure.options:
            taken = did_you_mean(name, measure.options) or "It takes no options."
            raise DataError(f"The measure {measure.name!r} has no option {name!r}. {taken}")
        _check_number(measure, name, options[name])
    for name, parameter in measure.options.items():
        if parameter.default is parameter.empty and name not in options:
            raise DataError(f"The measure {measure.name!r} needs the option {name!r}.")


def _check_number(measure: Measure, name: str, value: Any) -> None:
    default = measure.options[name].default
    numeric = isinstance(default, int | float) and not isinstance(default, bool)
    if numeric and (isinstance(value, str | bool) or not hasattr(value, "__float__")):
        raise DataError(f"The option {name!r} of {measure.name!r} is a number such as {default}, received {value!r}.")
