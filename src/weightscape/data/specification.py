"""Which data a task sees: a catalogue name and how it is cut. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from weightscape.data.catalogue import check_classes, check_size, describe, fingerprint
from weightscape.errors import DataError

Augmentation: TypeAlias = Literal["none", "flip", "pad-crop", "pad-crop-flip"]


def _checked(check: Callable[..., object], *arguments: Any) -> None:
    """Run a check of the catalogue so that pydantic joins its message with the place in the study file.

    Raises:
        ValueError: With the message of the check, if it fails.
    """
    try:
        check(*arguments)
    except DataError as error:
        raise ValueError(str(error)) from None


class DataSettings(BaseModel):
    """A data set of the catalogue, its subset, its split and its augmentation.

    Attributes:
        name: Name in the catalogue (``weightscape data list``).
        size: Side to which images are enlarged, in pixels; the data set's own size by default.
        classes: Labels to keep, renumbered from 0 in the given order; all by default.
        fraction: Share of each class of the training split that is kept.
        validation: Share of each class of the official training set that becomes the validation split.
        split_seed: Seed of the training/validation split and of `fraction`.
        augment: Augmentation of training batches.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    size: PositiveInt | None = None
    classes: tuple[NonNegativeInt, ...] | None = None
    fraction: float = Field(default=1.0, gt=0, le=1)
    validation: float = Field(default=0.1, gt=0, lt=1)
    split_seed: int = 777
    augment: Augmentation = "none"

    def fingerprint(self, data_root: Path | None = None) -> str:
        """Return the hash of the content of the data set's files, which is part of the key of every task that sees it.

        Raises:
            DataError: If files are missing (naming them), damaged, or another data set's.
        """
        return fingerprint(self, data_root)

    @field_validator("name")
    @classmethod
    def _exists(cls, name: str) -> str:
        _checked(describe, name)
        return name

    @field_validator("size")
    @classmethod
    def _enlarges(cls, size: int | None, info: ValidationInfo) -> int | None:
        if "name" in info.data:
            _checked(check_size, describe(info.data["name"]), size)
        return size

    @field_validator("classes")
    @classmethod
    def _are_there(cls, classes: tuple[int, ...] | None, info: ValidationInfo) -> tuple[int, ...] | None:
        if "name" in info.data:
            _checked(check_classes, describe(info.data["name"]), classes)
        return classes


def _from_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


DataSpec: TypeAlias = Annotated[DataSettings, BeforeValidator(_from_name)]
