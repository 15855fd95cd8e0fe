"""Made files with a note of what they were made from, so that they are made again only when that changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from weightscape.studies.keys import digest
from weightscape.studies.workspace.files import write_text


def file_digest(path: Path) -> str:
    """Return the blake2b hash of a file's content; empty when there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except FileNotFoundError:
        return ""


def code_digest(folder: Path) -> str:
    """Return the hash of all files of a package that can change what it makes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return digest([[path.relative_to(folder).as_posix(), file_digest(path)] for path in files])


def is_current(stamp: Path, source: str, files: Iterable[Path]) -> bool:
    """Return whether the files are there as they were made, from this source.

    Args:
        stamp: The note beside them.
        source: Hash of what they would be made from now.
        files: The files.
    """
    try:
        noted = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(noted == _note(source, files))


def noted_files(stamp: Path) -> list[str]:
    """Return the names of the files that a note is of; none where there is no note."""
    try:
        return list(json.loads(stamp.read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def write_stamp(stamp: Path, source: str, files: Iterable[Path]) -> None:
    """Note what files were made from."""
    write_text(stamp, json.dumps(_note(source, files), indent=1))


def _note(source: str, files: Iterable[Path]) -> dict[str, object]:
    return {"source": source, "files": {path.name: file_digest(path) for path in files}}
