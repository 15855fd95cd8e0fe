"""Which data a task sees: a catalogue name and how it is cut. Loads no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt

Augmentation: TypeAlias = Literal["none", "flip", "pad-crop", "pad-crop-flip"]


class DataSettings(BaseModel):
    """A data set of the catalogue, its subset, its split and its augmentation.

    Attributes:
        name: Name in the catalogue (``weightscape data list``).
        size: Side to which images are enlarged, in pixels; the data set's own size by default.
        classes: Labels to keep, renumbered from 0 in the given order; all by default.
        fraction: Share of each class of the training split that is kept.
        validation: Share of the official training set that becomes the validation split.
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


def _from_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


DataSpec: TypeAlias = Annotated[DataSettings, BeforeValidator(_from_name)]
