"""Where the files of a data set are, and their decompressed content. Loads no torch."""

from __future__ import annotations

import gzip
import importlib.util
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from weightscape.data.entries import Entry
from weightscape.errors import DataError

Located: TypeAlias = dict[str, tuple[Path, ...]]
"""Paths by role; several where a role is stored in shards."""

_CHUNK = 1 << 20


def data_root(root: str | Path | None = None) -> Path:
    """Return the folder of data sets: the argument, else ``$WEIGHTSCAPE_DATA``, else ``~/.cache/weightscape/data``."""
    chosen = root or os.environ.get("WEIGHTSCAPE_DATA") or Path.home() / ".cache" / "weightscape" / "data"
    return Path(chosen).expanduser()


def search_folders(entry: Entry, root: str | Path | None = None) -> list[Path]:
    """Return the folders in which a data set is looked for, in this order."""
    if entry.reader == "digits":
        return [_digits_folder()]
    base = data_root(root)
    return [base / folder for folder in entry.folders] + [Path(folder) for folder in entry.system_folders]


def locate(entry: Entry, root: str | Path | None = None) -> Located:
    """Return the paths of all files of a data set, from the first folder that has all of them.

    Files of one data set are never collected from several folders: MNIST and Fashion-MNIST use the same names.

    Raises:
        DataError: If no folder has all files, saying what was looked for, where, and how to get it.
    """
    for folder in search_folders(entry, root):
        found = files_in(entry, folder, data_root(root))
        if all(found.values()):
            return found
    raise DataError(_missing(entry, root))


def files_in(entry: Entry, folder: Path, base: Path) -> Located:
    """Return the files of a data set that are in one folder, by role; roles without a file have an empty tuple."""
    return {role: _candidates(entry, name, folder, base) for role, name in entry.files.items()}


def _candidates(entry: Entry, name: str, folder: Path, base: Path) -> tuple[Path, ...]:
    if entry.reader == "digits":
        paths = [folder / name]
    elif entry.reader == "idx":
        paths = [folder / name, folder / f"{name}.gz"]
    else:
        return _shards(entry, name, folder, base)
    return tuple(path for path in paths if path.is_file())[:1]


def _shards(entry: Entry, name: str, folder: Path, base: Path) -> tuple[Path, ...]:
    # In the root itself only names that say which data set they belong to count: every hub data set has a train file.
    patterns = [f"{entry.name}-{name}*.parquet"]
    if folder != base:
        patterns += [f"{name}.parquet", f"{name}-*.parquet"]
    for pattern in patterns:
        if paths := sorted(folder.glob(pattern)):
            return tuple(paths)
    return ()


def expected_files(entry: Entry) -> list[str]:
    """Return the names of the files of a data set, as shown to people."""
    if entry.reader == "idx":
        return [f"{name}[.gz]" for name in entry.files.values()]
    if entry.reader == "parquet":
        return [f"{name}*.parquet (or {entry.name}-{name}*.parquet)" for name in entry.files.values()]
    return list(entry.files.values())


def _missing(entry: Entry, root: str | Path | None) -> str:
    base = data_root(root)
    folders = search_folders(entry, root)
    lines = [
        f"The data set {entry.name!r} ({entry.title}) was not found.",
        f"Files: {', '.join(expected_files(entry))}.",
        f"Looked in: {', '.join(map(str, folders))}.",
    ]
    for folder in folders:
        found = files_in(entry, folder, base)
        absent = [entry.files[role] for role, paths in found.items() if not paths]
        if len(absent) < len(found):
            lines.append(f"{folder} has some of them, but not {', '.join(absent)}.")
    return "\n".join([*lines, _remedy(entry, base)])


def _remedy(entry: Entry, base: Path) -> str:
    if entry.reader == "digits":
        return "Install scikit-learn, which brings this file."
    ways = [
        f"put the files into {base / entry.folders[0]}",
        "name the folder that has them with --data-dir or WEIGHTSCAPE_DATA",
        f"with a network connection, run 'weightscape data get {entry.name}'",
    ]
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
