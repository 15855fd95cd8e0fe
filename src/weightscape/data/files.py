"""Where the files of a data set are, and their decompressed content. Loads no torch."""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weightscape.data.entry import Entry, Packaging
from weightscape.data.roots import data_root, own_root
from weightscape.errors import DataError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Place:
    """A folder in which a data set is looked for in one packaging.

    Attributes:
        packaging: How the files are packed.
        folder: The folder.
        shared: Whether files of other data sets lie there too, so that only names which say their data set count.
    """

    packaging: Packaging
    folder: Path
    shared: bool = False


@dataclass(frozen=True)
class Located:
    """The files of a data set that are in one place.

    Attributes:
        place: Where, and how they are packed.
        files: Paths by role; empty where files of the role are missing.
        missing: Names of the missing files.
    """

    place: Place
    files: dict[str, tuple[Path, ...]]
    missing: tuple[str, ...]

    @property
    def reader(self) -> str:
        """Format of the files."""
        return self.place.packaging.reader

    @property
    def paths(self) -> list[Path]:
        """All paths, role by role."""
        return [path for role in sorted(self.files) for path in self.files[role]]


def places(entry: Entry, root: str | Path | None = None) -> list[Place]:
    """Return the places in which a data set is looked for, in this order."""
    if entry.reader == "digits":
        return [Place(entry.packagings[0], _digits_folder())]
    own = own_root(entry.name, root)
    base = own or data_root(root)
    found = []
    for packaging in entry.packagings:
        folders = dict.fromkeys([".", *packaging.folders] if own else packaging.folders)
        found += [Place(packaging, base / folder, shared=folder == "." and own is None) for folder in folders]
    return found + [Place(entry.packagings[0], Path(folder)) for folder in entry.system_folders]


def search_folders(entry: Entry, root: str | Path | None = None) -> list[Path]:
    """Return the folders in which a data set is looked for, in this order."""
    return list(dict.fromkeys(place.folder for place in places(entry, root)))


def locate(entry: Entry, root: str | Path | None = None) -> Located:
    """Return the paths of all files of a data set, from the first place that has all of them.

    Files of one data set are never collected from several folders: MNIST and Fashion-MNIST use the same names.

    Raises:
        DataError: If no folder has all files, saying what was looked for, where, and how to get it.
    """
    for place in places(entry, root):
        found = files_in(entry, place)
        if not found.missing:
            return found
    raise DataError(_missing(entry, root))


def best_place(entry: Entry, root: str | Path | None = None) -> Located:
    """Return the place that lacks the smallest share of the files; among equals the one that is searched first."""
    found = [files_in(entry, place) for place in places(entry, root)]
    return min(found, key=lambda located: len(located.missing) / len(_all_names(located.place.packaging)))


def files_in(entry: Entry, place: Place) -> Located:
    """Return the files of a data set that are in one place."""
    files: dict[str, tuple[Path, ...]] = {}
    missing: list[str] = []
    for role, names in place.packaging.files.items():
        found = {name: _candidates(entry, name, place) for name in names}
        absent = [name for name, paths in found.items() if not paths]
        files[role] = () if absent else tuple(path for paths in found.values() for path in paths)
        missing += absent
    return Located(place, files, tuple(missing))


def _candidates(entry: Entry, name: str, place: Place) -> tuple[Path, ...]:
    if place.packaging.reader == "parquet":
        return _shards(entry, name, place)
    names = [name, f"{name}.gz"] if place.packaging.reader == "idx" else [name]
    return tuple(path for path in (place.folder / each for each in names) if path.is_file())[:1]


def _shards(entry: Entry, name: str, place: Place) -> tuple[Path, ...]:
    # Where other data sets may lie, only names that say which one they belong to count: every hub data set has a
    # train file.
    patterns = [f"{entry.name}-{name}*.parquet"]
    if not place.shared:
        patterns += [f"{name}.parquet", f"{name}-*.parquet"]
    for pattern in patterns:
        if paths := sorted(place.folder.glob(pattern)):
            return tuple(paths)
    return ()


def _all_names(packaging: Packaging) -> list[str]:
    return [name for names in packaging.files.values() for name in names]


def expected_files(entry: Entry) -> list[str]:
    """Return the names of the files of a data set, as shown to people: those of each packaging in one text."""
    return [", ".join(_shown(entry, packaging)) for packaging in entry.packagings]


def _shown(entry: Entry, packaging: Packaging) -> list[str]:
    names = _all_names(packaging)
    if packaging.reader == "idx":
        return [f"{name}[.gz]" for name in names]
    if packaging.reader == "parquet":
        return [f"{name}*.parquet (or {entry.name}-{name}*.parquet)" for name in names]
    return names


def _missing(entry: Entry, root: str | Path | None) -> str:
    lines = [
        f"The data set {entry.name!r} ({entry.title}) was not found.",
        f"Files: {'; or '.join(expected_files(entry))}.",
        f"Looked in: {', '.join(map(str, search_folders(entry, root)))}.",
    ]
    for place in places(entry, root):
        found = files_in(entry, place)
        if len(found.missing) < len(_all_names(place.packaging)):
            lines.append(f"{place.folder} has some of them, but not {', '.join(found.missing)}.")
    return "\n".join([*lines, _remedy(entry, root)])


def home_folder(entry: Entry, root: str | Path | None = None) -> Path:
    """Return the folder into which the files of a data set are put."""
    return own_root(entry.name, root) or data_root(root) / entry.folders[0]


def _remedy(entry: Entry, root: str | Path | None) -> str:
    if entry.reader == "digits":
        return "Install scikit-learn, which brings this file."
    ways = [
        f"put the files into {home_folder(entry, root)}",
        f"name the folder that has them with --data-dir (or --data-dir {entry.name}=FOLDER) or WEIGHTSCAPE_DATA",
    ]
    if entry.is_fetched:
        ways.append(f"with a network connection, run 'weightscape data prepare {entry.name}'")
    if entry.system_folders:
        ways.append(f"on Debian, install {entry.package}")
    return f"To get it: {'; or '.join(ways)}. See {entry.homepage}."


def _digits_folder() -> Path:
    """Return the folder of scikit-learn's data files without importing scikit-learn, which takes a second.

    Raises:
        DataError: If scikit-learn is not installed.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataError("The data set 'digits' is a file of scikit-learn, which is not installed.")
    return Path(spec.origin).parent / "datasets" / "data"


def content_chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file in pieces of a mebibyte, decompressed when the name ends in ``.gz``.

    Raises:
        DataError: If the file cannot be read or its compressed data are truncated or damaged.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except EOFError as error:
        raise DataError(f"{path} is truncated: its compressed data end too early. Fetch it again.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}. Fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def read_content(path: Path) -> bytearray:
    """Return the decompressed content of a file, writable so that tensors can share it."""
    content = bytearray()
    for chunk in content_chunks(path):
        content += chunk
    return content
