"""Finished steps on disk, so that an interrupted transfer goes on where it was.

``step-0003.safetensors`` is the permutation of step 3, ``step-0003.json`` its row of the table, the seconds it took and
the digest of the former. The JSON is written last, both under a temporary name first; a step counts if its files are
whole and so are those of all steps before it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightscape.errors import StoreError
from weightscape.symmetry.permutation import Permutation

_LOG = logging.getLogger(__name__)
_FORMAT = 1


@dataclass(frozen=True)
class StepRecord:
    """What is known of a finished step.

    Attributes:
        permutation: Its permutation.
        row: Its row of the table.
        seconds: Time by phase.
    """

    permutation: Permutation
    row: Mapping[str, float]
    seconds: Mapping[str, float]


class StepRecords:
    """The finished steps of one transfer.

    Args:
        folder: Created if missing; nothing is kept without one.
        identity: JSON values that tell this transfer from any other.
    """

    def __init__(self, folder: str | Path | None, identity: Mapping[str, Any]) -> None:
        self._folder = None if folder is None else Path(folder)
        self._identity = json.loads(json.dumps(identity))
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)

    def save(self, record: StepRecord) -> None:
        """Write a step, the number of which is in its row."""
        if self._folder is None:
            return
        path = self._folder / f"step-{int(record.row['step']):04d}.safetensors"
        temporary = path.with_name(path.name + ".tmp")
        record.permutation.save(temporary)
        content = {"format": _FORMAT, "identity": self._identity, "permutation": _digest(temporary.read_bytes())}
        content |= {"row": dict(record.row), "seconds": dict(record.seconds)}
        os.replace(temporary, path)
        text = path.with_suffix(".json.tmp")
        text.write_text(json.dumps(content), encoding="utf-8")
        os.replace(text, path.with_suffix(".json"))

    def load(self) -> list[StepRecord]:
        """Return the finished steps from 0 on.

        Raises:
            StoreError: If the folder belongs to another transfer.
        """
        return list(self._read_all())

    def _read_all(self) -> Iterator[StepRecord]:
        if self._folder is None:
            return
        number = 0
        while (path := self._folder / f"step-{number:04d}.json").exists():
            try:
                yield self._read(path)
            except (OSError, ValueError, KeyError) as error:
                _LOG.warning("%s is damaged; the transfer goes on from step %d: %s", path, number, error)
                return
            number += 1

    def _read(self, path: Path) -> StepRecord:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT or content["identity"] != self._identity:
            mine = {**self._identity, "format": _FORMAT}
            theirs = {**content["identity"], "format": content["format"]}
            different = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
            raise StoreError(
                f"{path.parent} holds the steps of another transfer, with other {', '.join(different)}. Give this one "
                "a folder of its own, or remove that one if it is no longer needed."
            )
        tensors = path.with_suffix(".safetensors")
        if _digest(tensors.read_bytes()) != content["permutation"]:
            raise ValueError(f"{tensors.name} does not have the recorded digest")
        return StepRecord(Permutation.load(tensors), content["row"], content["seconds"])


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
