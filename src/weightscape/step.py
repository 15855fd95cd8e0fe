"""The moment of training at which a snapshot was taken."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from weightscape.errors import WeightscapeError

_PATTERN = re.compile(r"(?:(\d+)ep)?(?:(\d+)it)?", re.ASCII)


@dataclass(frozen=True, order=True)
class Step:
    """Whole epochs done, and iterations done since: ``12ep``, ``500it``, ``12ep50it``.

    Ordered first by epoch, then by iteration, which is the order of time for steps normalised to one epoch length
    (:meth:`normalised`). The idea of a value type is open_lth's (``foundations/step.py``).

    >>> Step.parse("12ep50it")
    Step(epoch=12, iteration=50)
    >>> str(Step(iteration=500)), str(Step())
    ('500it', '0ep')
    >>> Step.parse("9ep") < Step.parse("10ep")
    True
    """

    epoch: int = 0
    iteration: int = 0

    def __post_init__(self) -> None:
        if self.epoch < 0 or self.iteration < 0:
            raise WeightscapeError(f"A step is at least 0ep, received epoch {self.epoch}, iteration {self.iteration}.")

    @classmethod
    def parse(cls, text: str | Step) -> Step:
        """Read a step from its text form.

        Raises:
            WeightscapeError: If the text is not of the form ``12ep``, ``500it`` or ``12ep50it``.
        """
        if isinstance(text, Step):
            return text
        match = _PATTERN.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None or not match.group(0):
            raise WeightscapeError(f"expected a step such as '12ep', '500it' or '12ep50it', received {text!r}.")
        return cls(int(match.group(1) or 0), int(match.group(2) or 0))

    def __str__(self) -> str:
        epoch = f"{self.epoch}ep" if self.epoch or not self.iteration else ""
        return epoch + (f"{self.iteration}it" if self.iteration else "")

    def normalised(self, iterations_per_epoch: int) -> Step:
        """Return the same moment with fewer iterations than an epoch has.

        >>> Step.parse("500it").normalised(200)
        Step(epoch=2, iteration=100)

        Raises:
            WeightscapeError: If an epoch has no iterations.
        """
        if iterations_per_epoch < 1:
            raise WeightscapeError(f"An epoch has at least one iteration, received {iterations_per_epoch}.")
        total = self.total(iterations_per_epoch)
        return Step(*divmod(total, iterations_per_epoch))

    def total(self, iterations_per_epoch: int) -> int:
        """Return the number of iterations done since initialisation."""
        return self.epoch * iterations_per_epoch + self.iteration

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let a step stand in a configuration, as its text."""
        from pydantic_core import core_schema

        def validate(value: Any) -> Step:
            try:
                return cls.parse(value)
            except WeightscapeError as error:
                raise ValueError(str(error)) from None

        return core_schema.no_info_plain_validator_function(
            validate,
            serialization=core_schema.plain_serializer_function_ser_schema(str),
            json_schema_input_schema=core_schema.str_schema(pattern=r"^(\d+ep(\d+it)?|\d+it)$"),
        )
