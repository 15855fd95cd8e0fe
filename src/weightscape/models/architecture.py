"""What a network is: a name and the arguments that build it. Loads no torch.

The number of classes and the shape of the inputs follow from the data and are given when the network is built. A new
family is one class here, one file that builds it, and one line in ``building.py``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from weightscape.errors import ModelError, did_you_mean

_DOTTED = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"


class _Family(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def fingerprint(self, data_root: Path | None = None) -> str | None:
        """Return the hash of code outside this package that the key must contain; none for bundled families."""
        return None


class _Scaled(_Family):
    width: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    def scaled(self, channels: int) -> int:
        """Return the number of channels that stands for `channels` at this width, at least 1."""
        return max(1, round(channels * self.width))


class Mlp(_Family):
    """Linear layers on flattened inputs, a ReLU between each two. Layers are named ``linear1``, ``linear2``, ..."""

    name: Literal["mlp"]
    hidden: tuple[PositiveInt, ...] = (64,)
    bias: bool = False


class Conv(_Scaled):
    """The VGG-like networks Conv4, Conv6 and Conv8 of arXiv 2305.14122; `width` multiplies all hidden widths."""

    name: Literal["conv4", "conv6", "conv8"]


class ResNet18(_Scaled):
    """ResNet-18 of basic blocks (arXiv 1512.03385); `width` multiplies all widths, that of the stem included.

    The ``small`` stem is a 3x3 convolution without pooling, for images up to 64 pixels; the ``imagenet`` stem a 7x7
    convolution of stride 2 and a 3x3 maximum of stride 2.
    """

    name: Literal["resnet18"]
    stem: Literal["small", "imagenet"] = "small"


class Tiny10(_Family):
    """The eight-convolution network of "Similarity and Matching of Neural Network Representations".

    Source: arXiv 2110.14633.
    """

    name: Literal["tiny10"]
    batch_norm: bool = True


class Custom(BaseModel):
    """A user's own module: a dotted path to a class or function, and its keyword arguments.

    ``classes`` and ``shape`` are passed along when the callable accepts arguments of these names.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(pattern=_DOTTED)

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments given besides the name."""
        return dict(self.__pydantic_extra__ or {})

    def fingerprint(self, data_root: Path | None = None) -> str | None:
        """Return the hash of the source file that defines the callable."""
        from weightscape.source import source_hash

        return source_hash(self.name)


_FAMILIES: dict[str, type[BaseModel]] = {
    "mlp": Mlp,
    "conv": Conv,
    "resnet18": ResNet18,
    "tiny10": Tiny10,
    "custom": Custom,
}
_TAGS: dict[str, str] = {
    name: tag for tag, family in _FAMILIES.items() for name in get_args(family.model_fields["name"].annotation)
}
NAMES = tuple(_TAGS)
"""The names of the bundled architectures."""


def _from_name(value: Any) -> Any:
    """Turn a bare name into settings and refuse what names no architecture, before pydantic speaks of tags.

    Raises:
        PydanticCustomError: If the value names no architecture.
    """
    if isinstance(value, _Family | Custom):
        return value
    settings = {"name": value} if isinstance(value, str) else value
    if not isinstance(settings, dict):
        raise PydanticCustomError(
            "architecture",
            "expected the name of an architecture or its settings, received {received}. {hint}",
            {"received": repr(value), "hint": _known()},
        )
    name = settings.get("name")
    if not isinstance(name, str) or (name not in _TAGS and not re.match(_DOTTED, name)):
        raise PydanticCustomError(
            "architecture",
            "expected the name of an architecture{place}, received {received}. {hint}",
            {"place": "" if isinstance(value, str) else " under 'name'", "received": repr(name), "hint": _hint(name)},
        )
    return settings


def _known() -> str:
    return f"Known: {', '.join(NAMES)}; a network of your own is named by its dotted path, like 'my_module.MyNetwork'."


def _hint(name: Any) -> str:
    close = did_you_mean(name, NAMES) if isinstance(name, str) else ""
    return close if close.startswith("Did") else _known()


def _tag(value: Any) -> str:
    name = value["name"] if isinstance(value, dict) else value.name
    return _TAGS.get(name, "custom")


Architecture: TypeAlias = Annotated[
    Annotated[Mlp, Tag("mlp")]
    | Annotated[Conv, Tag("conv")]
    | Annotated[ResNet18, Tag("resnet18")]
    | Annotated[Tiny10, Tag("tiny10")]
    | Annotated[Custom, Tag("custom")],
    Discriminator(_tag),
    BeforeValidator(_from_name),
]

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
