"""What a network is: a name and the arguments that build it. Loads no torch.

The number of classes and the shape of the inputs follow from the data and are given when the network is built.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, PositiveInt, Tag


class _Family(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def fingerprint(self) -> str | None:
        """Return the hash of code outside this package that the key must contain; none for bundled families."""
        return None


class Mlp(_Family):
    """Linear layers on flattened inputs, a ReLU between each two. Layers are named ``linear1``, ``linear2``, ..."""

    name: Literal["mlp"]
    hidden: tuple[PositiveInt, ...] = (64,)
    bias: bool = False


class Conv(_Family):
    """The VGG-like networks Conv4, Conv6 and Conv8 of arXiv 2305.14122; `width` multiplies all hidden widths."""

    name: Literal["conv4", "conv6", "conv8"]
    width: float = Field(default=1.0, gt=0)


class ResNet18(_Family):
    """ResNet-18 of basic blocks; the ``small`` stem is a 3x3 convolution without pooling, for images up to 64 pixels."""

    name: Literal["resnet18"]
    width: float = Field(default=1.0, gt=0)
    stem: Literal["small", "imagenet"] = "small"


class Tiny10(_Family):
    """The eight-convolution network of "Similarity and Matching of Neural Network Representations" (arXiv 2110.14633)."""

    name: Literal["tiny10"]
    batch_norm: bool = True


class Custom(BaseModel):
    """A user's own module: a dotted path to a class or function, and its keyword arguments.

    ``classes`` and ``shape`` are passed along when the callable accepts arguments of these names.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z_][\w]*(\.[A-Za-z_]\w*)+$")

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments given besides the name."""
        return dict(self.__pydantic_extra__ or {})

    def fingerprint(self) -> str | None:
        """Return the hash of the source file that defines the callable.

        Raises:
            ModelError: If the module or the name in it does not exist.
        """
        from weightscape.source import source_hash

        return source_hash(self.name)


_FAMILIES = {
    "mlp": "mlp",
    "conv4": "conv",
    "conv6": "conv",
    "conv8": "conv",
    "resnet18": "resnet18",
    "tiny10": "tiny10",
}
NAMES = tuple(_FAMILIES)


def _from_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _family(value: Any) -> str | None:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    if isinstance(name, str) and "." in name:
        return "custom"
    return _FAMILIES.get(name) if isinstance(name, str) else None


Architecture: TypeAlias = Annotated[
    Annotated[Mlp, Tag("mlp")]
    | Annotated[Conv, Tag("conv")]
    | Annotated[ResNet18, Tag("resnet18")]
    | Annotated[Tiny10, Tag("tiny10")]
    | Annotated[Custom, Tag("custom")],
    Discriminator(_family),
    BeforeValidator(_from_name),
]
