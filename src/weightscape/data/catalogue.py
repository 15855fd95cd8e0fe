"""The catalogue of data sets: what they are, whether their files are here, what a network will see. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightscape.data.entries import ENTRIES, Entry
from weightscape.data.files import best_place, expected_files, home_folder, search_folders
from weightscape.data.fingerprinting import fingerprint_of
from weightscape.data.listed import LISTED
from weightscape.data.roots import data_root
from weightscape.data.sources import source_kind
from weightscape.errors import DataError, did_you_mean
from weightscape.results import Result

if TYPE_CHECKING:
    from weightscape.data.specification import DataSettings

__all__ = [
    "Summary",
    "data_root",
    "describe",
    "described",
    "fingerprint",
    "names",
    "shape_and_classes",
    "summary",
]


def names() -> tuple[str, ...]:
    """Return the names of all data sets."""
    return tuple(ENTRIES)


def describe(name: str) -> Entry:
    """Return what the catalogue says about a data set.

    Raises:
        DataError: If there is no such data set.
    """
    if name not in ENTRIES:
        raise DataError(f"expected the name of a data set, received {name!r}. {did_you_mean(name, ENTRIES)}")
    return ENTRIES[name]


def shape_and_classes(settings: DataSettings | str, root: str | Path | None = None) -> tuple[tuple[int, int, int], int]:
    """Return the shape ``(C, H, W)`` of the images and the number of classes a network will see.

    Data of the user's own is read for this; files of the catalogue's need not be there.

    Raises:
        DataError: If the data set does not exist, or the classes do not fit it.
    """
    if isinstance(settings, str):
        entry = described(settings, root=root)
        return entry.shape, len(entry.classes)
    entry = described(settings.name, settings.arguments, size=settings.size, root=root)
    check_classes(entry, settings.classes)
    channels, height, width = entry.shape
    shape = (channels, settings.size or height, settings.size or width)
    return shape, len(entry.classes if settings.classes is None else settings.classes)


def described(
    name: str, arguments: dict[str, Any] | None = None, *, size: int | None = None, root: str | Path | None = None
) -> Entry:
    """Return what is known about a data set of the catalogue, or of the user's own, which is read for this.

    Raises:
        DataError: If there is no such data set, or it cannot be read.
    """
    if source_kind(name) == "catalogue":
        return describe(name)
    from weightscape.data.own import own_data

    return own_data(name, arguments, size=size, root=root).entry


def check_classes(entry: Entry, classes: tuple[int, ...] | None) -> None:
    """Check that a subset of classes exists, has no repetition and leaves something to tell apart.

    Raises:
        DataError: If it does not.
    """
    if classes is None:
        return
    last = len(entry.classes) - 1
    unknown = sorted({label for label in classes if not 0 <= label <= last})
    if unknown:
        raise DataError(f"expected labels of {entry.name}, 0 to {last}, received {', '.join(map(str, unknown))}.")
    repeated = sorted({label for label in classes if classes.count(label) > 1})
    if repeated:
        raise DataError(f"expected each label once, received {', '.join(map(str, repeated))} repeatedly.")
    if len(classes) < 2:
        raise DataError(f"expected at least two labels, received {len(classes)}.")


def fingerprint(settings: DataSettings | str, root: str | Path | None = None) -> str:
    """Return the hash of the content of a data set's files, as 32 hexadecimal digits.

    The content alone counts: compressed or not, in one parquet file or several, in any folder, gives the same. What
    `settings` choose from the content is not in it, for that is part of a task's configuration.

    Raises:
        DataError: If files are missing (naming them), damaged, or another data set's.
    """
    name = settings if isinstance(settings, str) else settings.name
    if source_kind(name) == "catalogue":
        return fingerprint_of(describe(name), root)
    from weightscape.data.own import own_data

    if isinstance(settings, str):
        return own_data(name, root=root).fingerprint
    own = own_data(name, settings.arguments, size=settings.size, root=root)
    check_classes(own.entry, settings.classes)
    return own.fingerprint


@dataclass(frozen=True)
class Summary(Result):
    """A data set and the state of its files.

    Attributes:
        name: Name in the catalogue.
        title: Name in sentences.
        shape: Shape of an image, ``C x H x W``.
        classes: Number of classes.
        train_size: Images in the official training set.
        test_size: Images in the official test set.
        present: Whether all files are in one folder.
        folder: That folder; where it is absent, the folder in which to put the files.
        packaging: Format of the files that are there.
        size_bytes: Size of the files on disk, if present; not counted for images in a folder.
        licence: Terms of use.
        files: Paths of the files that are there, by role, empty where missing.
        looked_for: Names of the files, a text for each packaging.
        looked_in: Folders that were searched, in this order.
        entry: Everything the catalogue says.
    """

    name: str
    title: str
    shape: str
    classes: int
    train_size: int
    test_size: int
    present: bool
    folder: str
    packaging: str | None
    size_bytes: int | None
    licence: str
    files: dict[str, tuple[Path, ...]]
    looked_for: tuple[str, ...]
    looked_in: tuple[Path, ...]
    entry: Entry


def summary(name: str, root: str | Path | None = None) -> Summary:
    """Return a data set's entry and which of its files are present, without reading them.

    Raises:
        DataError: If there is no such data set.
    """
    entry = describe(name)
    found = best_place(entry, root)
    present = not found.missing
    some = any(found.files.values())
    counted = present and found.reader not in LISTED
    return Summary(
        name=entry.name,
        title=entry.title,
        shape=" x ".join(map(str, entry.shape)),
        classes=len(entry.classes),
        train_size=entry.train_size,
        test_size=entry.test_size,
        present=present,
        folder=str(found.place.folder if present or some else home_folder(entry, root)),
        packaging=found.reader if present else None,
        size_bytes=sum(path.stat().st_size for path in found.paths) if counted else None,
        licence=entry.licence,
        files=found.files,
        looked_for=tuple(expected_files(entry)),
        looked_in=tuple(search_folders(entry, root)),
        entry=entry,
    )
