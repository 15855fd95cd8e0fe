"""Data sets whose images are files of a folder, named with their labels in a list: CelebA. Loads no torch.

Two packagings: tables ``train.csv`` and ``test.csv``, or the two official lists.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightscape.data.entry import Entry
from weightscape.data.files import Located
from weightscape.errors import DataError

if TYPE_CHECKING:
    import numpy

LISTED = frozenset({"celeba-csv", "celeba-official"})
"""Readers whose images are files in a folder."""
_IMAGE_FOLDERS = ("img_align_celeba", "Img/img_align_celeba")
_PARTITIONS = {"train": 0, "test": 2}


@dataclass(frozen=True)
class Listing:
    """The images of one official set, which are not read.

    Attributes:
        folder: Where the images are.
        names: Path of each image in it.
        labels: A 1 or 0 for each image and class ``(n, classes)`` uint8.
    """

    folder: Path
    names: tuple[str, ...]
    labels: numpy.ndarray[Any, Any]


def listings(entry: Entry, located: Located) -> dict[str, Listing]:
    """Return the lists of the official ``train`` and ``test`` set; the last ones read stay in memory.

    Raises:
        DataError: If a list is damaged, lacks columns, or says something else than -1 or 1 about an image.
    """
    states = tuple((path, (status := path.stat()).st_size, status.st_mtime_ns) for path in located.paths)
    roles = tuple((role, located.files[role][0]) for role in sorted(located.files))
    return _listings(located.reader, entry.classes, roles, states)


@functools.lru_cache(maxsize=2)
def _listings(
    reader: str, classes: tuple[str, ...], roles: tuple[tuple[str, Path], ...], states: object
) -> dict[str, Listing]:
    files = dict(roles)
    if reader == "celeba-csv":
        return {role: _from_table(path, classes) for role, path in files.items()}
    return _from_lists(files["attributes"], files["partition"], classes)


def _from_table(path: Path, classes: tuple[str, ...]) -> Listing:
    import pandas

    try:
        table = pandas.read_csv(path)
    except (ValueError, OSError) as error:  # pandas' errors of parsing are ValueErrors
        raise DataError(f"{path} is no complete table of images: {error}") from error
    missing = [name for name in ("img", *classes) if name not in table.columns]
    if missing:
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise DataError(
            f"{path}: expected the column 'img' and a column for each of {len(classes)} attributes, received "
            f"{len(table.columns)} columns without {', '.join(missing[:4])}{more}."
        )
    names = tuple(map(str, table["img"]))
    return Listing(path.parent, names, _labels(path, names, table, classes))


def _from_lists(attributes: Path, partition: Path, classes: tuple[str, ...]) -> dict[str, Listing]:
    table, parts = _list_of(attributes, skip=1), _list_of(partition, header=None)
    missing = [name for name in classes if name not in table.columns]
    if missing or list(table.index) != list(parts.index):
        raise DataError(
            f"{attributes} and {partition} do not belong together: expected {len(classes)} attributes and one line per "
            f"image in both, received {len(table.columns)} attributes of {len(table)} images, and {len(parts)} images."
        )
    announced = attributes.open(encoding="utf-8").readline().strip()
    if announced != str(len(table)):
        raise DataError(f"{attributes} announces {announced} images and has {len(table)}. Fetch it again.")
    folder = _image_folder(attributes)
    found = {}
    for role, number in _PARTITIONS.items():
        chosen = table[(parts.iloc[:, 0] == number).to_numpy()]
        names = tuple(map(str, chosen.index))
        found[role] = Listing(folder, names, _labels(attributes, names, chosen, classes))
    return found


def _list_of(path: Path, *, skip: int = 0, header: Any = "infer") -> Any:
    import pandas

    try:
        table = pandas.read_csv(path, sep=r"\s+", skiprows=skip, header=header)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is no complete list of images: {error}") from error
    return table.set_index(table.columns[0]) if header is None else table


def _image_folder(attributes: Path) -> Path:
    bases = (attributes.parent, attributes.parent.parent)
    places = [base / name for base in bases for name in _IMAGE_FOLDERS]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise DataError(f"The images of {attributes} are missing: expected the folder {places[0]}.")
    return found


def _labels(path: Path, names: tuple[str, ...], table: Any, classes: tuple[str, ...]) -> numpy.ndarray[Any, Any]:
    values = table[list(classes)].to_numpy()
    if not len(values):
        raise DataError(f"{path} lists no image of this set.")
    wrong = ~((values == 1) | (values == -1))
    if wrong.any():
        row, column = (int(place[0]) for place in wrong.nonzero())
        raise DataError(
            f"{path}: expected -1 or 1, received {values[row, column]} for {classes[column]} of {names[row]} "
            f"({int(wrong.sum())} such values)."
        )
    return (values == 1).astype("uint8")  # type: ignore[no-any-return]


def listed_state(entry: Entry, located: Located) -> str:
    """Return a hash of the sizes and times of all listed images: another one where a file was changed.

    Raises:
        DataError: If images are missing, with the first of them.
    """
    digest = hashlib.blake2b(digest_size=16)
    for role, listing in sorted(listings(entry, located).items()):
        missing = []
        for name in listing.names:
            try:
                status = (listing.folder / name).stat()
            except OSError:
                missing.append(name)
                continue
            digest.update(f"{role} {name} {status.st_size} {status.st_mtime_ns}\n".encode())
        if missing:
            raise DataError(
                f"{len(missing)} of {len(listing.names)} {role} images of {entry.title} are missing, the first is "
                f"{listing.folder / missing[0]}."
            )
    return digest.hexdigest()


def encoded_images(listing: Listing) -> Iterator[tuple[bytes, bytes]]:
    """Yield each image as its file has it, and its labels.

    Raises:
        DataError: If a file cannot be read.
    """
    for name, labels in zip(listing.names, listing.labels, strict=True):
        try:
            yield (listing.folder / name).read_bytes(), labels.tobytes()
        except OSError as error:
            raise DataError(f"{listing.folder / name} cannot be read: {error}") from error
