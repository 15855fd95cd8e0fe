"""Settings that stand for content outside a study, and how they are found. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import BaseModel


@runtime_checkable
class Fingerprinted(Protocol):
    """A setting that stands for content outside the study (data, user code), which the key must contain."""

    def fingerprint(self, data_root: Path | None = None) -> str | None:
        """Return a hash of the content, or None when the setting itself says everything."""


def fingerprinted(settings: BaseModel, path: str = "") -> Iterator[tuple[str, Fingerprinted]]:
    """Yield the settings, at any depth, that stand for content outside the study, with their dotted paths."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        members = enumerate(value) if isinstance(value, tuple | list) else [("", value)]
        for place, member in members:
            own = f"{path}{name}" if place == "" else f"{path}{name}.{place}"
            if isinstance(member, Fingerprinted):
                yield own, member
            elif isinstance(member, BaseModel):
                yield from fingerprinted(member, f"{own}.")
