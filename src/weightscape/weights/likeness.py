"""Whether weights are of one architecture, told by names and shapes. Loads no torch."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from weightscape.errors import StoreError
from weightscape.weights.checkpoints import Checkpoint
from weightscape.weights.heads import Head

Snapshot: TypeAlias = Checkpoint | Head
"""A file whose headers were read."""


def check_same_architecture(files: Iterable[Snapshot]) -> None:
    """Check that all files are of one architecture.

    Raises:
        StoreError: Naming the files that differ from most, and how.
    """
    kinds: dict[str, list[Snapshot]] = {}
    for checkpoint in files:
        kinds.setdefault(json.dumps(sorted(checkpoint.shapes.items())), []).append(checkpoint)
    if len(kinds) < 2:
        return
    usual, *rest = sorted(kinds.values(), key=len, reverse=True)
    odd = [str(checkpoint.path) for members in rest for checkpoint in members]
    more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
    raise StoreError(
        f"These files are of another architecture than the other {len(usual)}: {', '.join(odd[:3])}{more}. "
        f"{difference(rest[0][0].shapes, usual[0].shapes)} compared with {usual[0].path}. "
        "Narrow the pattern of files, or import each architecture alone."
    )


def difference(given: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> str:
    """Return in words how shapes by name differ from what is expected; empty if they do not."""
    extra = [name for name in given if name not in expected]
    parts = []
    for name in expected:
        close = difflib.get_close_matches(name, extra, n=1, cutoff=0.8) if name not in given else []
        if name not in given:
            parts.append(f"{name} is missing" + (f" (there is {close[0]})" if close else ""))
        elif given[name] != expected[name]:
            parts.append(f"{name} is {given[name]} instead of {expected[name]}")
    parts += [f"{name} is unexpected" for name in extra]
    shown = "; ".join(parts[:5]) + ("; ..." if len(parts) > 5 else "")
    return f"{len(parts)} tensor{'s' * (len(parts) > 1)} differ: {shown}" if parts else ""
