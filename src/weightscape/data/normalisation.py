"""By which mean and standard deviation pixels are normalised. Loads no torch."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, PositiveFloat, Tag

from weightscape.errors import DataError

Moments: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]


class MeanAndStd(BaseModel):
    """Mean and standard deviation of each channel, for pixels in [0, 1]; one number serves all channels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[float, ...]
    std: tuple[PositiveFloat, ...]


Normalisation: TypeAlias = Annotated[
    Annotated[Literal["data", "imagenet", "half", "none"], Tag("name")] | Annotated[MeanAndStd, Tag("numbers")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "numbers"),
]
_NAMED: dict[str, Moments] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
}


def moments(normalise: Normalisation, own: Moments) -> Moments:
    """Return mean and standard deviation of each channel.

    Args:
        normalise: The choice.
        own: Mean and standard deviation of the data set itself.

    Raises:
        DataError: If there are more numbers than channels.
    """
    if normalise == "data":
        return own
    mean, std = _NAMED[normalise] if isinstance(normalise, str) else (normalise.mean, normalise.std)
    return _each(mean, len(own[0])), _each(std, len(own[0]))


def _each(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) not in {1, channels}:
        expected = "one number" if channels == 1 else f"one or {channels} numbers"
        raise DataError(f"expected {expected} to normalise images of {channels} channel(s), received {len(values)}.")
    return values * channels if len(values) == 1 else values
