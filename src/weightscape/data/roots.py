"""Where data sets are: one folder for all, and a folder of its own for any of them. Loads no torch.

``--data-dir`` and ``WEIGHTSCAPE_DATA`` take a folder, or several parts separated like those of ``PATH``: a part
``NAME=FOLDER`` is the folder of one data set, a part without a name is the folder of all others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_NAMED = re.compile(r"^([a-z][a-z0-9_]*)=(.+)$")
_VARIABLE = "WEIGHTSCAPE_DATA"


def data_root(root: str | Path | None = None) -> Path:
    """Return the folder of data sets: the argument, else ``$WEIGHTSCAPE_DATA``, else ``~/.cache/weightscape/data``."""
    for text in _texts(root):
        for name, folder in _parts(text):
            if not name:
                return folder
    return Path.home() / ".cache" / "weightscape" / "data"


def own_root(name: str, root: str | Path | None = None) -> Path | None:
    """Return the folder that was given for one data set alone, if any.

    What is said as an argument comes before what the environment says, and there ``$WEIGHTSCAPE_DATA_NAME`` before a
    part of ``$WEIGHTSCAPE_DATA``. An argument that names a folder for all data sets alone says that there is none.
    """
    said = str(root) if root else ""
    if said and said != os.environ.get(_VARIABLE):
        parts = list(_parts(said))
        for part, folder in parts:
            if part == name:
                return folder
        if any(not part for part, _ in parts):
            return None
    if own := os.environ.get(f"{_VARIABLE}_{name.upper()}"):
        return Path(own).expanduser()
    return next((folder for part, folder in _parts(os.environ.get(_VARIABLE, "")) if part == name), None)


def _texts(root: str | Path | None) -> Iterator[str]:
    yield str(root or "")
    yield os.environ.get(_VARIABLE, "")


def _parts(text: str) -> Iterator[tuple[str, Path]]:
    # A folder whose own name has the separator in it is taken as it is.
    whole = Path(text).expanduser() if text else None
    for part in [text] if whole is not None and whole.is_dir() else filter(None, text.split(os.pathsep)):
        named = _NAMED.match(part)
        yield (named[1], Path(named[2]).expanduser()) if named else ("", Path(part).expanduser())
