"""The key of a task: a hash of everything that determines its result.

``blake2b(canonical JSON of {operation, version, settings without defaults, inputs, content})``. Left out on purpose:
device, data type, threads, workers and package versions, which are recorded beside the result instead. Defaults are
left out so that a new option does not rename what was computed before it existed; a changed default therefore needs a
higher version, which a lock file enforces (``studies/operations.lock.json``).
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from weightscape.fingerprints import fingerprinted
from weightscape.operation import Operation
from weightscape.source import source_hash

KEY_LENGTH = 32


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, negative zero as zero.

    >>> canonical({"b": -0.0, "a": [1, None]})
    '{"a":[1,null],"b":0.0}'

    Raises:
        ValueError: If the value holds NaN or an infinity, which JSON cannot say.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value + 0.0
    if isinstance(value, Mapping):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value


def digest(value: Any) -> str:
    """Return the blake2b hash, as 32 hexadecimal digits, of the canonical JSON of a value."""
    return hashlib.blake2b(canonical(value).encode(), digest_size=KEY_LENGTH // 2).hexdigest()


def essential(settings: BaseModel, located: Collection[str] = ()) -> dict[str, Any]:
    """Return validated settings as plain data without those that equal their default, at every depth.

    Args:
        settings: The settings.
        located: Settings to leave out because they say where something lies; what it is stands in the content.
    """
    return settings.model_dump(mode="json", exclude_defaults=True, exclude=set(located))


def content_of(
    operation: Operation,
    settings: BaseModel,
    data_root: Path | None = None,
    *,
    known: MutableMapping[str, str | None] | None = None,
) -> dict[str, str]:
    """Return the fingerprints of all content that the settings stand for: data by name, user code by dotted path.

    Args:
        operation: What is done.
        settings: Its validated settings.
        data_root: Folder of data sets.
        known: Remembers fingerprints: a plan of a thousand tasks on one data set looks at it once.

    Raises:
        DataError: If a data set is missing or damaged.
        ModelError: If user code cannot be found.
    """
    known = {} if known is None else known

    def remembered(name: str, fingerprint: Callable[[], str | None]) -> str | None:
        if name not in known:
            known[name] = fingerprint()
        return known[name]

    found = {
        path: remembered(repr(member), functools.partial(member.fingerprint, data_root))
        for path, member in fingerprinted(settings)
    }
    if not operation.is_bundled:
        dotted = f"{operation.function.__module__}.{operation.function.__name__}"
        found["operation"] = remembered(dotted, functools.partial(source_hash, dotted))
    return {path: text for path, text in found.items() if text is not None}


def task_key(operation: Operation, settings: BaseModel, inputs: Mapping[str, Any], content: Mapping[str, str]) -> str:
    """Return the key of a task.

    Args:
        operation: What is done.
        settings: Its validated settings.
        inputs: By parameter, ``[key, artefact, step]``, or the ordered list of these for a population. Optional inputs
            that are not given are left out.
        content: Fingerprints of data and user code (:func:`content_of`).
    """
    return digest(
        {
            "operation": operation.name,
            "version": operation.version,
            "settings": essential(settings, operation.expansion.located if operation.expansion else ()),
            "inputs": dict(inputs),
            "content": dict(content),
        }
    )
