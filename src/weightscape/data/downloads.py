"""Fetch the files of a data set, only when asked. Loads no torch."""

from __future__ import annotations

import http.client
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from weightscape.data.catalogue import describe
from weightscape.data.entries import Entry
from weightscape.data.files import data_root, locate
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
        root: Folder of data sets; see :func:`weightscape.data.catalogue.data_root`.
        mirrors: Addresses of folders to try in this order, instead of the catalogue's.
        hub: Name on the Hugging Face hub, or local folder laid out like one, instead of the catalogue's.

    Raises:
        DataError: If the files cannot be fetched, or what comes is not what the catalogue says.
    """
    entry = describe(name)
    try:
        return next(iter(locate(entry, root).values()))[0].parent
    except DataError:
        if entry.reader == "digits":
            raise
    folder = data_root(root) / entry.folders[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be made: {error}. Choose another with --data-dir.") from error
    if entry.reader == "parquet":
        _from_hub(entry, folder, hub or entry.hub)
    else:
        for role, file_name in entry.files.items():
            _from_mirrors(entry, role, f"{file_name}.gz", folder, entry.mirrors if mirrors is None else mirrors)
    return next(iter(locate(entry, root).values()))[0].parent


def _from_mirrors(entry: Entry, role: str, file_name: str, folder: Path, mirrors: Sequence[str]) -> None:
    target = folder / file_name
    if target.is_file() or target.with_suffix("").is_file():
        return
    # The part keeps the suffix, by which its content is decompressed, and is this process's own.
    part = folder / f".part-{os.getpid()}-{file_name}"
    failures = []
    try:
        for mirror in mirrors:
            address = f"{mirror.rstrip('/')}/{file_name}"
            try:
                _fetch(address, part)
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


def _from_hub(entry: Entry, folder: Path, source: str) -> None:
    """Write one parquet file per split, with the images as the hub stores them.

    Raises:
        DataError: If the hub cannot be reached or has no such data set.
    """
    import datasets

    for role, stem in entry.files.items():
        target = folder / f"{stem}.parquet"
        if target.is_file():
            continue
        part = folder / f".part-{os.getpid()}-{target.name}"
        try:
            table = datasets.load_dataset(source, split=role)
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
