"""The settings of networks that other people's code builds: a library's, or the user's own. Loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from weightscape.source import DOTTED

LIBRARY = r"^(timm|torchvision):[\w./-]+$"


class Foreign(BaseModel):
    """Base of networks that other people's code builds: any further setting is an argument of that code."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments given besides the name."""
        return dict(self.__pydantic_extra__ or {})


class Library(Foreign):
    """A network of timm or torchvision, where they are installed: ``timm:NAME``, ``torchvision:NAME``, and arguments.

    Built without pretrained weights, for the channels and classes of the data. Weights are drawn by the library's own
    rules from the stream of the seed.
    """

    name: str = Field(pattern=LIBRARY)

    @model_validator(mode="after")
    def _starts_from_the_seed(self) -> Library:
        for argument in ("pretrained", "weights"):
            if self.arguments.get(argument):
                raise PydanticCustomError(
                    "pretrained",
                    "no argument {argument}: the seed decides the first weights. Save pretrained weights to a file and "
                    "import that file",
                    {"argument": repr(argument)},
                )
        return self

    @property
    def library(self) -> str:
        """``timm`` or ``torchvision``."""
        return self.name.partition(":")[0]

    def fingerprint(self, data_root: Path | None = None) -> str | None:
        """Return the library's name and version: another version may define another network.

        Raises:
            ModelError: If the library is not installed.
        """
        from weightscape.source import library_version

        return library_version(self.library, wanted_by=self.name)


class Custom(Foreign):
    """A user's own module: a dotted path to a class or function, and its keyword arguments.

    ``classes`` and ``shape`` are passed along when the callable accepts arguments of these names.
    """

    name: str = Field(pattern=DOTTED)

    def fingerprint(self, data_root: Path | None = None) -> str | None:
        """Return the hash of the source file that defines the callable and of the user's files that it imports.

        Raises:
            ModelError: If there is no such file, it is not Python, or it does not define the name.
        """
        from weightscape.source import check_source, source_hash

        check_source(self.name, self.arguments)
        return source_hash(self.name)
