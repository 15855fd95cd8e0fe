"""Files that are there as a whole or not at all, and what the system says when one cannot be written.

A file is written beside its place under a name that no other process uses, made durable, and put in its place by one
rename. Whoever is killed in between leaves a draft, which the next writer of the folder removes.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DRAFT = ".draft"
"""How the names of unfinished files end."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What network and FUSE file systems answer that cannot write a folder to the disk by itself.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the name of a draft, which takes the place of `path` in one step when the block ends without an error.

    Raises:
        OSError: If it cannot be written; the error names the file.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}{DRAFT}")
    try:
        yield draft
        make_durable(draft)
        draft.replace(path)
    except OSError as error:
        if error.errno in _FULL and error.filename is None:
            error.filename = str(path)  # of a full disk the system says no file, and messages name it
        raise
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file that is there as a whole or not at all."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def drafts(folder: Path) -> list[Path]:
    """Return the unfinished files of a folder and of those in it."""
    return sorted(path for path in folder.rglob(f".*{DRAFT}") if path.is_file())


def make_durable(*paths: Path) -> None:
    """Write files or folders from the memory of the system to the disk, where the file system can.

    Raises:
        OSError: If the disk is full or fails.
    """
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise
        finally:
            os.close(descriptor)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; those that vanish meanwhile count nothing."""
    found = [path] if path.is_file() else list(path.rglob("*"))
    total = 0
    for file in found:
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:
            continue
    return total


def reason(error: OSError) -> str:
    """Return what the system said, and what to do about it.

    >>> reason(OSError(errno.ENOSPC, "No space left on device"))
    'No space left on device. Free some space and run the same command again: it continues.'
    """
    said = (os.strerror(error.errno) if error.errno else str(error)).rstrip(".")
    if error.errno in _FULL:
        return f"{said}. Free some space and run the same command again: it continues."
    return f"{said}. Is it the right folder, and may it be written? See weightscape doctor."
