"""User code named by a dotted path: find it, import it, hash it."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from weightscape.errors import ModelError


def import_dotted(path: str) -> Any:
    """Import ``package.module.name`` (or ``package.module:name``).

    Raises:
        ModelError: If the module cannot be imported, fails while it is imported, or has no such name.
    """
    module_name, _, name = path.replace(":", ".").rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name)
    except Exception as error:  # the module is foreign code: whatever it raises is its user's to read
        raise ModelError(
            f"{path!r} cannot be imported: {error!r}. A dotted path names a module that Python finds "
            "(the study's own folder is searched too) and a class or function in it."
        ) from error


@functools.lru_cache
def _file_hash(path: Path, modified: int) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def source_hash(path: str) -> str:
    """Return the blake2b hash of the file of the module that `path` names, without importing the module itself.

    Raises:
        ModelError: If the module does not exist or has no source file.
    """
    module_name = path.replace(":", ".").rpartition(".")[0]
    try:
        spec = importlib.util.find_spec(module_name)
    except (ImportError, ValueError) as error:
        raise ModelError(f"The module {module_name!r} of {path!r} cannot be found: {error}") from error
    if spec is None or not spec.origin or not spec.has_location:
        raise ModelError(
            f"The module {module_name!r} of {path!r} has no source file on Python's path or beside the study."
        )
    file = Path(spec.origin)
    return _file_hash(file, file.stat().st_mtime_ns)
