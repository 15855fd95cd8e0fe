"""Which augmentations training images go through: names, lists of transforms, functions of the user's own.

Loads no torch.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from weightscape.data.entries import ENTRIES
from weightscape.errors import did_you_mean

DOTTED = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
Interpolation: TypeAlias = Literal["nearest", "bilinear"]
NamedAugmentation: TypeAlias = Literal["none", "flip", "pad-crop", "pad-crop-flip"]
_Level: TypeAlias = Annotated[int, Field(ge=0, le=255)]
_Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


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

    name: str = Field(pattern=DOTTED.pattern)

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments given besides the name."""
        return dict(self.__pydantic_extra__ or {})


def _ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"expected the smaller bound first, received {value[0]:g}, {value[1]:g}")
    return value


_TRANSFORMS: dict[str, type[BaseModel]] = {
    "flip": Flip,
    "pad": Pad,
    "crop": Crop,
    "center-crop": CenterCrop,
    "pad-crop": PadCrop,
    "random-resized-crop": RandomResizedCrop,
    "rotation": Rotation,
    "affine": Affine,
    "mixup": Mixup,
}
NAMES = tuple(_TRANSFORMS)
"""The names of the bundled transforms."""


def _from_name(value: Any) -> Any:
    """Turn a bare name into settings and refuse what names no transform, before pydantic speaks of tags.

    Raises:
        PydanticCustomError: If the value names no transform.
    """
    if isinstance(value, BaseModel):
        return value
    settings = {"name": value} if isinstance(value, str) else value
    name = settings.get("name") if isinstance(settings, dict) else None
    if not isinstance(name, str) or (name not in NAMES and not DOTTED.match(name)):
        raise PydanticCustomError(
            "transform",
            "expected the name of a transform or its settings, received {received}. {hint}",
            {"received": repr(name if name is not None else value), "hint": _hint(name)},
        )
    return settings


def _hint(name: Any) -> str:
    close = did_you_mean(name, NAMES) if isinstance(name, str) else ""
    if close.startswith("Did"):
        return close
    return f"Known: {', '.join(NAMES)}; a function of your own is named by its dotted path, like 'my_module.blur'."


def _tag(value: Any) -> str:
    name = value["name"] if isinstance(value, dict) else value.name
    return name if name in NAMES else "own"


Transform: TypeAlias = Annotated[
    Annotated[Flip, Tag("flip")]
    | Annotated[Pad, Tag("pad")]
    | Annotated[Crop, Tag("crop")]
    | Annotated[CenterCrop, Tag("center-crop")]
    | Annotated[PadCrop, Tag("pad-crop")]
    | Annotated[RandomResizedCrop, Tag("random-resized-crop")]
    | Annotated[Rotation, Tag("rotation")]
    | Annotated[Affine, Tag("affine")]
    | Annotated[Mixup, Tag("mixup")]
    | Annotated[OwnTransform, Tag("own")],
    Discriminator(_tag),
    BeforeValidator(_from_name),
]
_BY_NAME: dict[NamedAugmentation, tuple[BaseModel, ...]] = {
    "none": (),
    "flip": (Flip(name="flip"),),
    "pad-crop": (PadCrop(name="pad-crop"),),
    "pad-crop-flip": (PadCrop(name="pad-crop"), Flip(name="flip")),
}


def _listed(value: Any) -> Any:
    """Make a list of what stands alone, but for the names of whole augmentations."""
    if isinstance(value, str):
        return value if value in _BY_NAME else [value]
    return [value] if isinstance(value, dict | BaseModel) else value


def uses_border(augment: Augmentation) -> bool:
    """Return whether a crop comes before any padding: its part comes out of the border that some images have."""
    if isinstance(augment, str):
        return False
    sized = ("pad", "crop", "center-crop", "random-resized-crop")
    first = next((transform.name for transform in augment if transform.name in sized), "")
    return first in {"crop", "center-crop"}


def _has_border(info: ValidationInfo) -> bool:
    """Return whether the data set of the settings that are being read has images with a border."""
    entry = ENTRIES.get((info.data or {}).get("name", ""))
    return entry is not None and entry.border > 0


def _coherent(value: Any, info: ValidationInfo) -> Any:
    """Check that the transforms fit together, and write the lists that have a name by their name.

    Raises:
        ValueError: If they do not fit together.
    """
    if isinstance(value, str):
        return value
    for name, transforms in _BY_NAME.items():
        if value == transforms:
            return name
    names = [transform.name for transform in value]
    if "mixup" in names[:-1]:
        raise ValueError("mixup mixes finished images and must be the last transform, once")
    padded, bordered = False, _has_border(info)
    for name in names:
        if name in {"crop", "center-crop"} and not padded and not bordered:
            raise ValueError(f"{name} needs padded images: put 'pad' before it")
        bordered = bordered and name not in {"pad", "crop", "center-crop", "random-resized-crop"}
        padded = name == "pad" or (padded and name not in {"crop", "center-crop", "random-resized-crop"})
    if padded:
        raise ValueError(
            "padded images are larger than the network sees: a crop, center-crop or random-resized-crop must follow"
        )
    return value


Augmentation: TypeAlias = Annotated[
    Annotated[NamedAugmentation, Tag("augmentation")] | Annotated[tuple[Transform, ...], Tag("transforms")],
    Discriminator(lambda value: "augmentation" if isinstance(value, str) else "transforms"),
    BeforeValidator(_listed),
    AfterValidator(_coherent),
]


def own_transforms(augment: Augmentation) -> tuple[OwnTransform, ...]:
    """Return the user's own functions in an augmentation, in order."""
    if isinstance(augment, str):
        return ()
    return tuple(transform for transform in augment if isinstance(transform, OwnTransform))
