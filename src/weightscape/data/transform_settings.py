"""The settings of each transform of images: a name without default, options with defaults. Loads no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from weightscape.source import DOTTED

Interpolation: TypeAlias = Literal["nearest", "bilinear"]
_Level: TypeAlias = Annotated[int, Field(ge=0, le=255)]
_Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


def _ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"expected the smaller bound first, received {value[0]:g}, {value[1]:g}")
    return value


class _Transform(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap")
    def _short(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave defaults out wherever settings are shown: a list of transforms stands in one cell of a table."""
        fields = type(self).model_fields
        return {name: value for name, value in dump(self).items() if getattr(self, name) != fields[name].default}


class Flip(_Transform):
    """Mirror left to right, one image in two unless `probability` says otherwise."""

    name: Literal["flip"]
    probability: _Share = 0.5


class Pad(_Transform):
    """Put `padding` pixels around the images, black or the nearest pixel of the edge; a crop must follow."""

    name: Literal["pad"]
    padding: PositiveInt = 4
    mode: Literal["black", "edge"] = "black"


class Crop(_Transform):
    """Cut the size that the network sees out of padded images, or of those with a border, at any place alike."""

    name: Literal["crop"]


class CenterCrop(_Transform):
    """Cut the size that the network sees out of the centre of padded images, or of those with a border."""

    name: Literal["center-crop"]


class PadCrop(_Transform):
    """Put `padding` black pixels around the images and cut their size out again, at any place alike."""

    name: Literal["pad-crop"]
    padding: PositiveInt = 4


class RandomResizedCrop(_Transform):
    """Cut out a part of random area and aspect, and resize it to the size that the network sees, bilinearly.

    The area is uniform in `scale` (shares of the image), the logarithm of the aspect uniform in that of `ratio` (width
    by height); after ten parts that do not fit, the largest central part of a permitted aspect. From arXiv 1409.4842.
    """

    name: Literal["random-resized-crop"]
    scale: tuple[PositiveFloat, PositiveFloat] = (0.08, 1.0)
    ratio: tuple[PositiveFloat, PositiveFloat] = (0.75, 4 / 3)

    @field_validator("scale", "ratio")
    @classmethod
    def _ascends(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _ascending(value)


class Rotation(_Transform):
    """Turn by an angle that is uniform between -`degrees` and `degrees`, about the centre; corners get `fill`."""

    name: Literal["rotation"]
    degrees: float = Field(gt=0, le=180)
    interpolation: Interpolation = "nearest"
    fill: _Level = 0


class Affine(_Transform):
    """Turn, shift, scale and shear about the centre; what comes from outside gets `fill`.

    Uniform draws: the angle up to `degrees` to both sides; the shift up to these shares of width and height, in whole
    pixels; the scale between two factors; the angles of the shear along x and y up to `shear` and `shear_y` degrees.
    """

    name: Literal["affine"]
    degrees: float = Field(default=0.0, ge=0, le=180)
    translate: tuple[_Share, _Share] = (0.0, 0.0)
    scale: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    shear: float = Field(default=0.0, ge=0, lt=90)
    shear_y: float = Field(default=0.0, ge=0, lt=90)
    interpolation: Interpolation = "nearest"
    fill: _Level = 0

    @field_validator("scale")
    @classmethod
    def _ascends(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _ascending(value)


class Mixup(_Transform):
    """Mix each image and its label with another: ``w * a + (1 - w) * b``, w ~ Beta(alpha, alpha) (arXiv 1710.09412).

    Each image has its own weight, and its partner may be any image of the epoch, so that batches of any size see the
    same mixtures. ``per: batch`` draws one weight for each batch, and partners from the batch, as often published.
    Must be the last transform.
    """

    name: Literal["mixup"]
    alpha: PositiveFloat
    per: Literal["image", "batch"] = "image"


class OwnTransform(BaseModel):
    """A function of your own, by its dotted path, called with the images, random numbers and these arguments.

    ``function(images, numbers, **arguments)`` gets bytes ``(b, C, H, W)`` and eight uniform numbers in [0, 1) for each
    image ``(b, 8)``, and returns images of the same kind. It must use no other randomness.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(pattern=DOTTED)

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments given besides the name."""
        return dict(self.__pydantic_extra__ or {})
