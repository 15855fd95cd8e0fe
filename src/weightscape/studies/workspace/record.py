"""A published result: what its ``object.json`` says, and whether its files are still what was published."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightscape.errors import StoreError
from weightscape.results import Scalar
from weightscape.studies.workspace.artefacts import load_artefact, read_arrow

if TYPE_CHECKING:
    import pyarrow

OBJECT = "object.json"
EARLIER = "earlier"
"""Entry of the environment: the key of a shorter result that the computation was given to go on from."""
TABLES = ".parquet"
"""How the names of the files end that hold tables."""
_SEAL = "seal"
_ENTRIES = (
    *("format", "key", "operation", "version", "settings", "inputs", "content"),
    *("outputs", "metrics", "seconds", "environment", "files"),
)


@dataclass(frozen=True)
class Record:
    """A published result, read lazily.

    Attributes:
        key: Its key.
        folder: Its folder.
    """

    key: str
    folder: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        """What ``object.json`` says.

        Raises:
            StoreError: If it cannot be read, was changed since it was published, or is that of another result.
        """
        try:
            return self._read()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.folder / OBJECT} is damaged ({explained(error)}). {self._remedy}") from error

    def _read(self) -> dict[str, Any]:
        found = json.loads((self.folder / OBJECT).read_text(encoding="utf-8"))
        content = {name: found[name] for name in _ENTRIES}
        if _SEAL in found and found[_SEAL] != _hash(content):
            raise ValueError("it was changed after it was published")
        if content["key"] != self.key:
            raise ValueError(f"it belongs to the key {content['key']}")
        return content

    @property
    def _remedy(self) -> str:
        return (
            f"Remove the folder {self.folder} (weightscape verify --repair removes all damaged results) and run the "
            "study again; this result alone is computed anew."
        )

    @property
    def settings(self) -> dict[str, Any]:
        """All settings of the task, defaults included."""
        return dict(self.content["settings"])

    @property
    def metrics(self) -> dict[str, Scalar]:
        """The scalar fields of the result, without durations."""
        return dict(self.content["metrics"])

    @property
    def outputs(self) -> dict[str, str]:
        """Artefact types by field."""
        return dict(self.content["outputs"])

    def artefact(self, field: str) -> Any:
        """Read one field of the result.

        Raises:
            StoreError: If the result has no such field or its file is damaged.
        """
        if field not in self.outputs:
            raise StoreError(f"The result {self.key} has no field {field!r}; it has {', '.join(self.outputs)}.")
        try:
            return load_artefact(self.outputs[field], self.folder, field)
        except StoreError as error:
            raise StoreError(f"{error} {self._remedy}") from error

    def table(self, field: str) -> pyarrow.Table:
        """Read a field that is a table, as an Arrow table.

        Raises:
            StoreError: If its file is damaged.
        """
        try:
            return read_arrow(self.folder / f"{field}{TABLES}")
        except StoreError as error:
            raise StoreError(f"{error} {self._remedy}") from error

    def upstream(self) -> set[str]:
        """Return the keys of the results it was computed from."""
        found = set()
        for value in self.content["inputs"].values():
            members = value if value and isinstance(value[0], list) else [value]
            found |= {str(member[0]) for member in members if member}
        return found

    def fault(self) -> str:
        """Return why the result does not count, without reading its files; empty when it does."""
        try:
            missing = self.missing()
        except StoreError as error:
            return f"{OBJECT}: {explained(error.__cause__)}"
        return f"{', '.join(missing)} missing" if missing else ""

    def missing(self) -> list[str]:
        """Return the names of the files that are gone, without reading those that are there."""
        return [name for name in self.content["files"] if not (self.folder / name).is_file()]

    def damaged(self, ending: str = "") -> list[str]:
        """Return the names of the files whose content is not what was published.

        Args:
            ending: Looks only at files whose names end like this; at all by default.
        """
        return [
            name
            for name, expected in self.content["files"].items()
            if name.endswith(ending) and not self._is_whole(name, expected)
        ]

    def _is_whole(self, name: str, expected: str) -> bool:
        try:
            return checksum(self.folder / name) == expected
        except OSError:  # missing, or on a part of the disk that cannot be read
            return False


def explained(error: BaseException | None) -> str:
    """Return in a few words why a JSON file could not be used."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return str(getattr(error, "strerror", None) or error)


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``object.json`` together with its own checksum."""
    return {**content, _SEAL: _hash({name: content[name] for name in _ENTRIES})}


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def checksum(path: Path) -> str:
    """Return the hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """Return the hashes of all files in a folder by their relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): checksum(path) for path in files}
