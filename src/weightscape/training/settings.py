"""What all settings of training share, and functions of the user's own among them. Loads no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from weightscape.source import DOTTED

OWN = "module.function"
"""The tag, in messages, of a function of the user's own."""


class Settings(BaseModel):
    """Settings that refuse what they do not know and never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OwnFunction(BaseModel):
    """A function of the user's own: its dotted path, and keyword arguments for it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(pattern=DOTTED)

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments given besides the name."""
        return dict(self.__pydantic_extra__ or {})

    def fingerprint(self, data_root: Path | None = None) -> str | None:
        """Return the hash of the source file that defines the function and of the user's files that it imports.

        Raises:
            ModelError: If there is no such file, it is not Python, or it does not define the name.
        """
        from weightscape.source import check_source, source_hash

        check_source(self.name, self.arguments)
        return source_hash(self.name)


def from_name(value: Any) -> Any:
    """Return settings for a bare name: ``cosine`` is short for ``{name: cosine}``."""
    return {"name": value} if isinstance(value, str) else value


def tag_among(names: Collection[str]) -> Callable[[Any], str | None]:
    """Return what tells which of several variants a value is: one of `names`, or a function by its dotted path."""

    def tag(value: Any) -> str | None:
        name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
        if not isinstance(name, str):
            return None
        return OWN if name not in names and re.match(DOTTED, name) else name

    return tag
