"""Bring a data set to this machine, verify it, and keep it decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weightscape.data.cache import cache_folder, recall_arrays
from weightscape.data.catalogue import describe
from weightscape.data.downloads import prepare
from weightscape.data.entry import Entry
from weightscape.data.files import Located, locate
from weightscape.data.fingerprinting import content_digest, fingerprint_of, source_key
from weightscape.data.listed import LISTED, listings
from weightscape.data.loading import load_data
from weightscape.data.official import read_official
from weightscape.errors import DataError
from weightscape.results import Result


@dataclass(frozen=True)
class Prepared(Result):
    """A data set whose files were read and checked.

    Attributes:
        name: Name in the catalogue.
        folder: Where its files are.
        packaging: How they are packed.
        fingerprint: Hash of the content.
        train_size: Training images that were read.
        test_size: Test images that were read.
        official: Whether the content is known to be the published one; None where no hash of it is known.
        decoded: Folder in which other processes find it decoded; None where it cannot be kept or need not be.
    """

    name: str
    folder: str
    packaging: str
    fingerprint: str
    train_size: int
    test_size: int
    official: bool | None
    decoded: str | None


def prepare_and_verify(name: str, root: str | Path | None = None) -> Prepared:
    """Fetch a data set unless it is here, read all of it, and keep it decoded for other processes.

    Args:
        name: Name in the catalogue.
        root: Folder of data sets; see :func:`weightscape.data.roots.data_root`.

    Raises:
        DataError: If the files cannot be fetched, are damaged, or do not hold what the catalogue says.
    """
    entry = describe(name)
    prepare(name, root)
    located = locate(entry, root)
    if located.reader in LISTED:
        return _prepared_listing(entry, located, root)
    train, test = read_official(entry, located)
    known = {role: content_digest(located.files[role][0]) == digest for role, digest in entry.digests.items()}
    wrong = [role for role, same in known.items() if not same]
    if wrong:
        raise DataError(f"{located.place.folder} holds other {', '.join(wrong)} than the published {entry.title}.")
    key, folder = source_key(entry, located), cache_folder()
    kept = folder is not None and recall_arrays(key) is not None
    return Prepared(
        name=name,
        folder=str(located.place.folder),
        packaging=located.reader,
        fingerprint=fingerprint_of(entry, root),
        train_size=len(train.labels),
        test_size=len(test.labels),
        official=True if known else None,
        decoded=str(folder / key) if kept and folder is not None else None,
    )


def _prepared_listing(entry: Entry, located: Located, root: str | Path | None) -> Prepared:
    """Decode all images at the usual size and cut."""
    load_data(entry.name, root=root)
    sizes, folder = listings(entry, located), cache_folder()
    kept = folder is not None and any(folder.glob(f"{source_key(entry, located)}-*"))
    return Prepared(
        name=entry.name,
        folder=str(located.place.folder),
        packaging=located.reader,
        fingerprint=fingerprint_of(entry, root),
        train_size=len(sizes["train"].names),
        test_size=len(sizes["test"].names),
        official=None,
        decoded=str(folder) if kept else None,
    )
