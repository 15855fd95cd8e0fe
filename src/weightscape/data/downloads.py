"""Fetch the files of a data set, only when asked. Loads no torch."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import tarfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from weightscape.data.catalogue import describe
from weightscape.data.entry import Entry, Packaging
from weightscape.data.files import home_folder, locate
from weightscape.data.fingerprinting import content_digest
from weightscape.errors import DataError

_TIMEOUT_SECONDS = 30
_CHUNK = 1 << 20


def prepare(
    name: str, root: str | Path | None = None, *, mirrors: Sequence[str] | None = None, hub: str | None = None
) -> Path:
    """Bring all files of a data set to this machine and return their folder; files that are there are kept.

    Args:
        name: Name in the catalogue.
        root: Folder of data sets; see :func:`weightscape.data.roots.data_root`.
        mirrors: Addresses of folders to try in this order, instead of the catalogue's.
        hub: Name on the Hugging Face hub, or local folder laid out like one, instead of the catalogue's.

    Raises:
        DataError: If the files cannot be fetched, or what comes is not what the catalogue says.
    """
    entry = describe(name)
    ways = list(_ways(entry, home_folder(entry, root), mirrors, hub)) if entry.reader != "digits" else []
    try:
        return locate(entry, root).place.folder
    except DataError:
        if not ways:
            raise
    folder = home_folder(entry, root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be made: {error}. Choose another with --data-dir.") from error
    failures = []
    for way in ways:
        try:
            way()
            return locate(entry, root).place.folder
        except DataError as error:
            failures.append(str(error))
    with contextlib.suppress(OSError):
        folder.rmdir()  # only if it is empty
    raise DataError("\n".join(failures))


def _ways(entry: Entry, folder: Path, mirrors: Sequence[str] | None, hub: str | None) -> Iterator[Callable[[], None]]:
    """Yield the ways to get a data set, in the order in which they are tried."""
    if entry.reader == "idx" or (entry.reader == "svhn-mat" and hub is None):
        yield partial(_from_all_mirrors, entry, folder, entry.mirrors if mirrors is None else mirrors)
    if hub or (entry.hub and mirrors is None):
        yield partial(_from_hub, entry, folder, hub or entry.hub)
    if hub is None:
        for packaging in entry.packagings:
            if packaging.archive:
                yield partial(_from_archive, entry, packaging, folder, mirrors)


def _from_all_mirrors(entry: Entry, folder: Path, mirrors: Sequence[str]) -> None:
    suffix = ".gz" if entry.reader == "idx" else ""
    for role, name in entry.files.items():
        _from_mirrors(entry, role, name + suffix, folder, mirrors)


def _from_mirrors(entry: Entry, role: str, file_name: str, folder: Path, mirrors: Sequence[str]) -> None:
    target = folder / file_name
    if target.is_file() or (target.suffix == ".gz" and target.with_suffix("").is_file()):
        return
    # The part keeps the suffix, by which its content is decompressed, and is this process's own.
    part = folder / f".part-{os.getpid()}-{file_name}"
    failures = []
    try:
        for mirror in mirrors:
            address = f"{mirror.rstrip('/')}/{file_name}"
            try:
                _fetch(address, part)
                _check_md5(entry.md5, file_name, part)
                _check_content(entry, role, part)
            except (OSError, http.client.HTTPException, DataError) as error:
                failures.append(f"{address}: {error}")
            else:
                os.replace(part, target)
                return
    finally:
        part.unlink(missing_ok=True)
    reasons = "\n".join(failures) or "no mirror is known"
    raise DataError(f"{file_name} of {entry.title} could not be fetched into {folder}:\n{reasons}")


def _fetch(address: str, target: Path) -> None:
    with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer, target.open("wb") as file:
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
        announced = answer.headers.get("Content-Length")
        if announced is not None and file.tell() != int(announced):
            raise DataError(f"the transfer ended after {file.tell()} of {announced} bytes")


def _check_content(entry: Entry, role: str, path: Path) -> None:
    # Mirrors compress differently, so the content is compared, not the file.
    expected, received = entry.digests.get(role), content_digest(path)
    if expected is not None and received != expected:
        raise DataError(f"these are not the {role} of {entry.title} (content hash {received}, expected {expected})")


def _check_md5(published: dict[str, str], file_name: str, path: Path) -> None:
    expected = published.get(file_name)
    if expected is None:
        return
    with path.open("rb") as file:
        received = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if received != expected:
        raise DataError(f"this is not the published {file_name} (MD5 {received}, expected {expected})")


def _from_archive(entry: Entry, packaging: Packaging, folder: Path, mirrors: Sequence[str] | None) -> None:
    """Fetch a tar archive and take the files of the data set out of it, whatever folder they lie in there.

    Raises:
        DataError: If it cannot be fetched, is not the published one, or lacks a file.
    """
    name = packaging.archive.rpartition("/")[2]
    addresses = [packaging.archive] if mirrors is None else [f"{mirror.rstrip('/')}/{name}" for mirror in mirrors]
    part = folder / f".part-{os.getpid()}-{name}"
    failures = []
    try:
        for address in addresses:
            try:
                _fetch(address, part)
                _check_md5(packaging.md5, name, part)
                _unpack(part, packaging, folder)
            except (OSError, EOFError, http.client.HTTPException, tarfile.TarError, zlib.error, DataError) as error:
                failures.append(f"{address}: {error}")
            else:
                return
    finally:
        part.unlink(missing_ok=True)
    reasons = "\n".join(failures) or "no mirror is known"
    raise DataError(f"{name} of {entry.title} could not be fetched into {folder}:\n{reasons}")


def _unpack(archive: Path, packaging: Packaging, folder: Path) -> None:
    wanted = {name for names in packaging.files.values() for name in names}
    found = set()
    with tarfile.open(archive) as content:
        for member in content:
            name = member.name.rpartition("/")[2]
            # Only plain files of known names are taken, under these names: no path of the archive is followed.
            if name not in wanted or not member.isfile() or (source := content.extractfile(member)) is None:
                continue
            part = folder / f".part-{os.getpid()}-{name}"
            try:
                with part.open("wb") as target:
                    shutil.copyfileobj(source, target, _CHUNK)
                os.replace(part, folder / name)
            finally:
                part.unlink(missing_ok=True)
            found.add(name)
    if found != wanted:
        raise DataError(f"the archive lacks {', '.join(sorted(wanted - found))}")


def _from_hub(entry: Entry, folder: Path, source: str) -> None:
    """Write one parquet file per split, with the images as the hub stores them.

    Raises:
        DataError: If the hub cannot be reached or has no such data set.
    """
    import datasets

    source, _, configuration = source.partition(":")
    stems = next(packaging.files for packaging in entry.packagings if packaging.reader == "parquet")
    for role, (stem,) in stems.items():
        target = folder / f"{stem}.parquet"
        if target.is_file():
            continue
        part = folder / f".part-{os.getpid()}-{target.name}"
        try:
            table = datasets.load_dataset(source, configuration or None, split=role)
            for column, feature in table.features.items():
                if isinstance(feature, datasets.Image):
                    table = table.cast_column(column, datasets.Image(decode=False))
            table.to_parquet(str(part))
            os.replace(part, target)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise DataError(
                f"{entry.title} could not be fetched from {source!r} of the Hugging Face hub: {error}. "
                f"Parquet files of it may be put into {folder} by hand."
            ) from error
        finally:
            part.unlink(missing_ok=True)
