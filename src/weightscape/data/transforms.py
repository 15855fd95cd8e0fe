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
    Discriminator,
    Tag,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from weightscape.data.entries import ENTRIES
from weightscape.data.transform_settings import (
    Affine,
    CenterCrop,
    Crop,
    Flip,
    Mixup,
    OwnTransform,
    Pad,
    PadCrop,
    RandomResizedCrop,
    Rotation,
)
from weightscape.data.transform_settings import Interpolation as Interpolation
from weightscape.errors import did_you_mean
from weightscape.source import DOTTED

NamedAugmentation: TypeAlias = Literal["none", "flip", "pad-crop", "pad-crop-flip"]
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
    if not isinstance(name, str) or (name not in NAMES and not re.match(DOTTED, name)):
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
