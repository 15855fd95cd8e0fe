"""Hashes of files, remembered as long as the files stay as they are. Loads no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from weightscape.errors import StoreError
from weightscape.weights.file_memory import recalled


def file_hash(path: str | Path) -> str:
    """Return the blake2b hash of a file's content, 32 hexadecimal digits.

    Raises:
        StoreError: If the file cannot be read.
    """
    return file_hashes([path])[0]


def file_hashes(paths: Iterable[str | Path]) -> list[str]:
    """Return the hashes of many files, reading several at a time those that are not known.

    Raises:
        StoreError: If a file cannot be read.
    """
    return [text for text in recalled("hash", paths, _hashed) if text is not None]


def _hashed(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
