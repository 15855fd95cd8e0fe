"""Options of representations and comparisons that the library, studies and results share. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from weightscape.errors import DataError, did_you_mean
from weightscape.similarity.measure import measure_names
from weightscape.source import source_hash

Form: TypeAlias = Literal["pixels", "features", "pooled"]
"""How the activation (n, C, H, W) of a layer becomes a matrix: (n·H·W, C), (n, C·H·W), or (n, C) of its means."""

DEFAULT_MEASURES = ("linear-cka-debiased",)


class ChosenMeasure(BaseModel):
    """A measure, and the options that differ from its defaults.

    Attributes:
        name: Its name, or the dotted path of a measure of your own.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """The options by name."""
        return dict(self.model_extra or {})

    @property
    def label(self) -> str:
        """The name with the options, as tables write it.

        >>> ChosenMeasure(name="svcca", variance=0.9).label
        'svcca (variance=0.9)'
        """
        given = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.name} ({given})" if given else self.name

    def fingerprint(self, data_root: Path | None = None) -> str | None:
        """Return the hash of the source of a measure of the user's own; None for bundled ones.

        Raises:
            ModelError: If it cannot be found.
        """
        return None if self.name in measure_names() else source_hash(self.name)

    @field_validator("name")
    @classmethod
    def _exists(cls, name: str) -> str:
        if name not in measure_names() and "." not in name and ":" not in name:
            raise PydanticCustomError(
                "measure",
                "expected the name of a measure, received {received}. {hint}",
                {"received": repr(name), "hint": _hint(name)},
            )
        return name


DEFAULT = tuple(ChosenMeasure(name=name) for name in DEFAULT_MEASURES)


def _hint(name: str) -> str:
    close = did_you_mean(name, measure_names())
    return close if close.startswith("Did") else f"{close} A measure of your own is a dotted path: 'my_module.alike'."


def listed(value: Any) -> Any:
    """Make a list of texts of what stands alone; commas separate them.

    >>> listed("bn1, bn2"), listed(0), listed(["conv*"])
    (['bn1', 'bn2'], ['0'], ['conv*'])
    """
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, int) and not isinstance(value, bool):
        return [str(value)]
    return [str(part) if isinstance(part, int) else part for part in value] if isinstance(value, list) else value


def _several(value: Any) -> Any:
    return [value] if isinstance(value, Mapping | BaseModel) else listed(value)


def _from_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Layers: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(listed)]
"""Addresses or patterns of layers."""

Measures: TypeAlias = Annotated[
    tuple[Annotated[ChosenMeasure, BeforeValidator(_from_name)], ...], BeforeValidator(_several)
]
"""Measures by name, with options where they differ from the defaults."""


def chosen(measures: Any) -> tuple[ChosenMeasure, ...]:
    """Return measures as given to a library function: a name, several, or mappings with options.

    Raises:
        DataError: If one does not exist.
    """
    given = _several(list(measures) if isinstance(measures, tuple | set) else measures)
    try:
        named = [_from_name(one) for one in given]
        return tuple(one if isinstance(one, ChosenMeasure) else ChosenMeasure.model_validate(one) for one in named)
    except (ValidationError, TypeError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise DataError(f"Measures are names, or mappings with a name and options: {said}") from error
