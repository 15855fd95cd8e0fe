"""What a network is: a name and the arguments that build it. Loads no torch.

A new family is one class in ``families.py``, one line here, one file that builds it, and one line in ``building.py``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, Discriminator, Tag, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from weightscape.errors import ModelError, did_you_mean
from weightscape.models.families import (
    Cnn,
    Conv,
    Dense,
    Family,
    Fixup,
    Inception,
    LeNet,
    Mlp,
    ResNet,
    ResNet20,
    Stitched,
    Tiny10,
)
from weightscape.models.foreign import LIBRARY, Custom, Foreign, Library
from weightscape.source import DOTTED

_FAMILIES: dict[str, type[BaseModel]] = {
    "mlp": Mlp,
    "dense": Dense,
    "lenet": LeNet,
    "cnn": Cnn,
    "conv": Conv,
    "resnet": ResNet,
    "resnet20": ResNet20,
    "fixup": Fixup,
    "tiny10": Tiny10,
    "inception": Inception,
    "stitched": Stitched,
    "library": Library,
    "custom": Custom,
}
_TAGS: dict[str, str] = {
    name: tag for tag, family in _FAMILIES.items() for name in get_args(family.model_fields["name"].annotation)
}
NAMES = tuple(name for name in _TAGS if name != "stitched")
"""The bundled architectures that a name alone stands for; ``stitched`` is made of two others."""


def _from_name(value: Any) -> Any:
    """Turn a bare name into settings and refuse what names no architecture, before pydantic speaks of tags.

    Raises:
        PydanticCustomError: If the value names no architecture.
    """
    if isinstance(value, Family | Foreign):
        return value
    settings = {"name": value} if isinstance(value, str) else value
    if not isinstance(settings, dict):
        raise PydanticCustomError(
            "architecture",
            "expected the name of an architecture or its settings, received {received}. {hint}",
            {"received": repr(value), "hint": _known()},
        )
    name = settings.get("name")
    if not isinstance(name, str) or not _is_name(name):
        raise PydanticCustomError(
            "architecture",
            "expected the name of an architecture{place}, received {received}. {hint}",
            {"place": "" if isinstance(value, str) else " under 'name'", "received": repr(name), "hint": _hint(name)},
        )
    return settings


def _is_name(name: str) -> bool:
    return name in _TAGS or bool(re.match(DOTTED, name) or re.match(LIBRARY, name))


def _known() -> str:
    return (
        f"Known: {', '.join(NAMES)}; a network of your own is named by its dotted path, like 'my_module.MyNetwork', "
        "one of an installed library like 'timm:resnet26' or 'torchvision:vgg11'."
    )


def _hint(name: Any) -> str:
    longer = [known for known in NAMES if isinstance(name, str) and name and known.startswith(name)]
    if longer:
        return f"Did you mean {longer[0]!r}?"
    close = did_you_mean(name, NAMES) if isinstance(name, str) else ""
    return close if close.startswith("Did") else _known()


def _tag(value: Any) -> str:
    name = value["name"] if isinstance(value, dict) else value.name
    return _TAGS.get(name, "library" if ":" in name else "custom")


Architecture: TypeAlias = Annotated[
    Annotated[Mlp, Tag("mlp")]
    | Annotated[Dense, Tag("dense")]
    | Annotated[LeNet, Tag("lenet")]
    | Annotated[Cnn, Tag("cnn")]
    | Annotated[Conv, Tag("conv")]
    | Annotated[ResNet, Tag("resnet")]
    | Annotated[ResNet20, Tag("resnet20")]
    | Annotated[Fixup, Tag("fixup")]
    | Annotated[Tiny10, Tag("tiny10")]
    | Annotated[Inception, Tag("inception")]
    | Annotated[Stitched, Tag("stitched")]
    | Annotated[Library, Tag("library")]
    | Annotated[Custom, Tag("custom")],
    Discriminator(_tag),
    BeforeValidator(_from_name),
]

# A stitched network is made of networks, which are known only now.
Stitched.model_rebuild(_types_namespace={"Architecture": Architecture})

_ADAPTER: TypeAdapter[Architecture] = TypeAdapter(Architecture)


def parse_architecture(value: Architecture | str | dict[str, Any]) -> Architecture:
    """Return the checked settings for a name, a dictionary or settings.

    >>> parse_architecture("conv8")
    Conv(width=1.0, name='conv8')

    Raises:
        ModelError: Listing everything that is wrong with the settings.
    """
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        raise ModelError("; ".join(_readable(problem) for problem in error.errors())) from None


def _readable(problem: Any) -> str:
    tag, *path = problem["loc"] or ("",)
    if not path:
        return f"Architecture: {problem['msg']}"
    if problem["type"] == "extra_forbidden":
        return f"Architecture: unknown option {path[-1]!r}. {did_you_mean(str(path[-1]), _FAMILIES[tag].model_fields)}"
    return f"Architecture, {'.'.join(map(str, path))}: {problem['msg']}, received {problem['input']!r}"
