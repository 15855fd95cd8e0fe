"""The fingerprint of a data set: a hash of its content, the same however the files are packed. Loads no torch.

Idx files and the digits are hashed by role, decompressed. Images in rows (CIFAR, SVHN, parquet) are hashed as label and
pixels where the packaging is lossless, so that binary files, pickled batches, MATLAB files and PNG agree; JPEG images
are hashed as they are encoded, and so are the images of a folder. What was found is remembered in the cache by a hash
of the files.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from weightscape.data.cache import keep_text, recall_text
from weightscape.data.entries import ENTRIES, Entry
from weightscape.data.files import Located, content_chunks, locate
from weightscape.data.listed import LISTED, Listing, encoded_images, listed_state, listings
from weightscape.errors import DataError

_BYTES = 16
_VERSION = 1
"""Raised when the rule of the fingerprint or the decoding changes: what older versions remembered is not used."""
_LOSSY: dict[str, bool] = {}
"""What this process knows already, for where nothing can be remembered on the disk."""


def fingerprint_of(entry: Entry, root: str | Path | None = None) -> str:
    """Return the blake2b hash (32 hexadecimal digits) of everything the files of a data set say.

    Takes as long as reading the data set the first time, as long as hashing its files the first time in a process, and
    nothing as long as the files stay as they are.

    Raises:
        DataError: If files are missing, damaged or another data set's.
    """
    located = locate(entry, root)
    refuse_other_data_set(entry, located)
    return remembered(entry, located, "fingerprint", lambda: _fingerprint(entry, located))


def remembered(entry: Entry, located: Located, what: str, find: Callable[[], str]) -> str:
    """Return a text that follows from the files of a data set: from the cache, else found and kept there."""
    key = f"{source_key(entry, located)}-{what}"
    found = recall_text(key)
    if found is None:
        found = find()
        keep_text(key, found)
    return found


def lossy_copy(entry: Entry, located: Located) -> bool:
    """Return whether the images here are JPEG files of originals that are not: pixels that only resemble them.

    Found out from the files once and remembered with their fingerprint, so that a decoded copy knows it too.

    Raises:
        DataError: If the files are damaged.
    """
    if located.reader != "parquet":
        return False
    key = source_key(entry, located)
    if key not in _LOSSY:
        said = remembered(entry, located, "lossy", lambda: "no" if _is_lossless(entry, located) else "yes")
        _LOSSY[key] = said == "yes"
    return _LOSSY[key]


def source_key(entry: Entry, located: Located) -> str:
    """Return a hash of the files as they lie on the disk, and of what the catalogue says about reading them."""
    digest = hashlib.blake2b(digest_size=_BYTES)
    said = (_VERSION, entry.name, entry.shape, entry.train_size, entry.test_size, len(entry.classes), located.reader)
    digest.update(repr(said).encode())
    if located.reader in LISTED:
        digest.update(listed_state(entry, located).encode())
    for role in sorted(located.files):
        hashes = [_raw_digest(*_identity(path)) for path in located.files[role]]
        digest.update(f"{role} {' '.join(hashes)}\n".encode())
    return digest.hexdigest()


def refuse_other_data_set(entry: Entry, located: Located) -> None:
    """Check by the smallest file that the files are not those of another data set, which uses the same names.

    Raises:
        DataError: If they are.
    """
    role = "test labels"
    others = {other.digests[role]: other for other in ENTRIES.values() if other != entry and role in other.digests}
    if role not in entry.digests or not others:
        return
    path = located.files[role][0]
    other = others.get(_content_digest(*_identity(path)))
    if other is not None:
        raise DataError(
            f"{path} holds the {role} of {other.title}, not of {entry.title}: the files have the same names. "
            f"Keep each data set in its own folder, {entry.folders[0]} and {other.folders[0]}."
        )


def content_digest(path: Path) -> str:
    """Return the blake2b hash of the decompressed content of one file."""
    digest = hashlib.blake2b(digest_size=_BYTES)
    for chunk in content_chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def _identity(path: Path) -> tuple[Path, int, int]:
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _content_digest(path: Path, *_: int) -> str:
    return content_digest(path)


@functools.lru_cache(maxsize=64)
def _raw_digest(path: Path, *_: int) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_BYTES)).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _fingerprint(entry: Entry, located: Located) -> str:
    if located.reader in {"digits", "idx", "stl10-binary"}:
        kind = located.reader
        digests = {role: _content_digest(*_identity(paths[0])) for role, paths in located.files.items()}
    elif located.reader in LISTED:
        kind = "listed images"
        digests = {role: _digest_of_listing(listing) for role, listing in listings(entry, located).items()}
    else:
        kind = "parquet"
        digests = _digests_of_rows(entry, located)
    text = "\n".join([kind, *(f"{role} {digest}" for role, digest in sorted(digests.items()))])
    return hashlib.blake2b(text.encode(), digest_size=_BYTES).hexdigest()


def _digests_of_rows(entry: Entry, located: Located) -> dict[str, str]:
    if located.reader == "parquet" and not _is_lossless(entry, located):
        return {role: _digest(_encoded(entry, paths)) for role, paths in located.files.items()}
    from weightscape.data.official import read_located

    sets = dict(zip(("train", "test"), read_located(entry, located), strict=True))
    return {
        role: _digest(zip(found.images.flatten(1).numpy(), found.labels.tolist(), strict=True))
        for role, found in sets.items()
    }


def _encoded(entry: Entry, paths: tuple[Path, ...]) -> Iterator[tuple[bytes, int]]:
    from weightscape.data.parquet import encoded_rows

    return encoded_rows(paths, entry.label_columns)


def _is_lossless(entry: Entry, located: Located) -> bool:
    from weightscape.data.parquet import is_lossless

    return all(is_lossless(image) for paths in located.files.values() for image, _ in _encoded(entry, paths))


def _digest_of_listing(listing: Listing) -> str:
    digest = hashlib.blake2b(digest_size=_BYTES)
    for image, labels in encoded_images(listing):
        digest.update(b"%d " % len(image))
        digest.update(labels)
        digest.update(image)
    return digest.hexdigest()


def _digest(rows: Iterator[tuple[Any, int]]) -> str:
    digest = hashlib.blake2b(digest_size=_BYTES)
    for image, label in rows:
        # The lengths keep the boundaries between images in the hash.
        digest.update(b"%d %d " % (label, len(image)))
        digest.update(image)
    return digest.hexdigest()
