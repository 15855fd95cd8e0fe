"""Finished steps on disk, so that an interrupted transfer goes on where it was.

``step-0003.safetensors`` is the permutation of step 3, ``step-0003.json`` its row of the table and the seconds it took.
A step counts if its files are whole and so are those of all steps before it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightscape.symmetry.permutation import Permutation
from weightscape.weights.sealed import SealedFolder

_LOG = logging.getLogger(__name__)


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
        self._files = None if folder is None else SealedFolder(folder, identity, holds="the steps of another transfer")

    def save(self, record: StepRecord) -> None:
        """Write a step, the number of which is in its row."""
        if self._files is None:
            return
        stem = _stem(int(record.row["step"]))
        draft = self._files.folder / f"{stem}.draft"
        record.permutation.save(draft)
        content = draft.read_bytes()
        draft.unlink()
        self._files.write(stem, content, {"row": dict(record.row), "seconds": dict(record.seconds)})

    def load(self) -> list[StepRecord]:
        """Return the finished steps from 0 on.

        Raises:
            StoreError: If the folder belongs to another transfer.
        """
        return list(self._read_all())

    def _read_all(self) -> Iterator[StepRecord]:
        if self._files is None:
            return
        number = 0
        while (self._files.folder / f"{_stem(number)}.json").exists():
            try:
                facts, _ = self._files.read(_stem(number))
                permutation = Permutation.load(self._files.folder / f"{_stem(number)}.safetensors")
                record = StepRecord(permutation, facts["row"], facts["seconds"])
            except (OSError, ValueError, KeyError) as error:
                place = self._files.folder / f"{_stem(number)}.json"
                _LOG.warning("%s is damaged; the transfer goes on from step %d: %s", place, number, error)
                return
            yield record
            number += 1


def _stem(number: int) -> str:
    return f"step-{number:04d}"
