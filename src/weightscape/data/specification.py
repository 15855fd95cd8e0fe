"""Which data a task sees: a catalogue name and how it is cut. Loads no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

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

from weightscape.data.catalogue import check_classes, describe, fingerprint
from weightscape.data.entries import ENTRIES
from weightscape.data.normalisation import Normalisation, moments
from weightscape.data.sources import source_kind
from weightscape.data.transform_settings import OwnTransform
from weightscape.data.transforms import Augmentation, own_transforms
from weightscape.errors import DataError
from weightscape.source import check_source, source_hash


def _checked(check: Callable[..., object], *arguments: Any) -> None:
    """Run a check of the catalogue so that pydantic joins its message with the place in the study file.

    Raises:
        ValueError: With the message of the check, if it fails.
    """
    try:
        check(*arguments)
    except DataError as error:
        raise ValueError(str(error)) from None


def _checked_source(transform: OwnTransform) -> str:
    check_source(transform.name, transform.arguments)
    return source_hash(transform.name)


class DataSettings(BaseModel):
    """A data set of the catalogue or of your own, its subset, its split and its augmentation.

    Attributes:
        name: Name in the catalogue (``weightscape data list``); or the path of a folder of images by class, or of a
            file of arrays; or the dotted path of a function that returns arrays.
        arguments: Keyword arguments of that function.
        size: Side to which images are resized, in pixels; the data set's own size by default.
        classes: Labels to keep, renumbered from 0 in the given order; all by default.
        fraction: Share of each class of the training split that is kept.
        validation: Share of each class of the official training set that becomes the validation split.
        split_seed: Seed of the training/validation split and of `fraction`.
        augment: Augmentation of training batches: a name, or a list of transforms.
        normalise: Mean and standard deviation of the pixels: the data set's own, ImageNet's, a half, or those given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    arguments: dict[str, Any] = {}
    size: PositiveInt | None = None
    classes: tuple[NonNegativeInt, ...] | None = None
    fraction: float = Field(default=1.0, gt=0, le=1)
    validation: float = Field(default=0.1, gt=0, lt=1)
    split_seed: int = 777
    augment: Augmentation = "none"
    normalise: Normalisation = "data"

    def fingerprint(self, data_root: Path | None = None) -> str:
        """Return the hash of the content of the data set's files, which is part of the key of every task that sees it.

        For functions of your own (data or transforms) the hash of their source is part of it.

        Raises:
            DataError: If files are missing (naming them), damaged, or another data set's.
            ModelError: If a transform of your own cannot be found, or takes no such arguments.
        """
        found = fingerprint(self, data_root)
        own = [_checked_source(transform) for transform in own_transforms(self.augment)]
        return hashlib.blake2b("\n".join([found, *own]).encode(), digest_size=16).hexdigest() if own else found

    @field_validator("name")
    @classmethod
    def _exists(cls, name: str) -> str:
        _checked(source_kind, name)
        return name

    @field_validator("arguments")
    @classmethod
    def _are_for_a_function(cls, arguments: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if arguments and "name" in info.data and source_kind(info.data["name"]) != "function":
            raise ValueError("arguments are for functions of your own, named by a dotted path")
        return arguments

    @field_validator("classes")
    @classmethod
    def _are_there(cls, classes: tuple[int, ...] | None, info: ValidationInfo) -> tuple[int, ...] | None:
        if info.data.get("name") in ENTRIES:
            _checked(check_classes, describe(info.data["name"]), classes)
        return classes

    @field_validator("normalise")
    @classmethod
    def _fits(cls, normalise: Normalisation, info: ValidationInfo) -> Normalisation:
        if info.data.get("name") in ENTRIES:
            entry = describe(info.data["name"])
            _checked(moments, normalise, (entry.mean, entry.std))
        return normalise


def _from_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


DataSpec: TypeAlias = Annotated[DataSettings, BeforeValidator(_from_name)]
