"""Where data comes from, as its name says: the catalogue, files, or a function. Loads no torch."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from weightscape.data.entries import ENTRIES
from weightscape.errors import DataError, did_you_mean
from weightscape.source import DOTTED

SourceKind: TypeAlias = Literal["catalogue", "files", "function"]
_PATH = re.compile(r"[/\\]|^[.~]|\.(npz|pt|safetensors)$")


def source_kind(name: str) -> SourceKind:
    """Return where data comes from.

    >>> [source_kind(name) for name in ("mnist", "./flowers", "arrays.npz", "my_module.my_data")]
    ['catalogue', 'files', 'files', 'function']

    Raises:
        DataError: If the name is none of these.
    """
    if name in ENTRIES:
        return "catalogue"
    if _PATH.search(name):
        return "files"
    if re.match(DOTTED, name):
        return "function"
    raise DataError(
        f"expected the name of a data set, received {name!r}. {did_you_mean(name, ENTRIES)} Data of your own: a path "
        "(./folder, arrays.npz) or the dotted path of a function (my_module.my_data)."
    )
