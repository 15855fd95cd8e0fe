"""What planning needs to know of files of weights, remembered as long as they stay as they are. Loads no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightscape.weights.archives import Unfinished
from weightscape.weights.checkpoints import Checkpoint, read_checkpoint
from weightscape.weights.file_memory import recalled

if TYPE_CHECKING:
    from weightscape.weights.algebra import Weights

_VERSION = 2
"""Raised when the same file would give another head."""


@dataclass(frozen=True)
class Head:
    """What the headers of a file of weights say.

    Attributes:
        path: The file.
        member: Which part of it is meant; None if that was found by itself.
        shapes: Shapes by name.
        epoch: The epoch that it mentions beside the weights.
        iteration: The iteration that it mentions.
        settings: The settings that it mentions.
    """

    path: Path
    member: str | None
    shapes: Mapping[str, tuple[int, ...]]
    epoch: int | None
    iteration: int | None
    settings: Mapping[str, Any]

    def load(self) -> Weights:
        """Return the weights, mapped into memory where the format allows it.

        Raises:
            StoreError: If the file was damaged or removed meanwhile.
        """
        return read_checkpoint(self.path, member=self.member).load()


def read_heads(paths: Sequence[str], member: str | None = None) -> list[Head | Unfinished]:
    """Return the head of each of many files; the error itself for one that ends too early.

    Raises:
        StoreError: If a file is missing or damaged, or holds no weights.
    """
    unfinished: dict[str, Unfinished] = {}

    def find_out(path: str) -> str | None:
        try:
            return _text(read_checkpoint(path, member=member))
        except Unfinished as error:
            unfinished[path] = error
            return None

    found = recalled(f"head {_VERSION} {member or ''}", paths, find_out)
    return [
        unfinished[os.path.abspath(path)] if text is None else _head(path, member, text)
        for path, text in zip(paths, found, strict=True)
    ]


def _text(found: Checkpoint) -> str:
    shapes = {name: list(shape) for name, shape in found.shapes.items()}
    return json.dumps([shapes, found.epoch, found.iteration, dict(found.settings)])


def _head(path: str, member: str | None, text: str) -> Head:
    shapes, epoch, iteration, settings = json.loads(text)
    sizes = {name: tuple(shape) for name, shape in shapes.items()}
    return Head(Path(os.path.abspath(path)), member, sizes, epoch, iteration, settings)
