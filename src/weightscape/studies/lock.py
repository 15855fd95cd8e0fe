"""The lock of defaults: a default that changes under an unchanged version would make old keys mean something new.

``python -m weightscape.studies.lock`` rewrites the lock file after a version was raised or an operation added.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from weightscape.operation import find_operation, operation_names

LOCK_FILE = Path(__file__).with_name("operations.lock.json")


def current(names: Iterable[str]) -> dict[str, Any]:
    """Return version and nested defaults of operations, by name."""
    operations = {name: find_operation(name) for name in sorted(names)}
    return {
        name: {"version": found.version, "defaults": defaults(found.settings)} for name, found in operations.items()
    }


def defaults(model: type[BaseModel], above: frozenset[type[BaseModel]] = frozenset()) -> dict[str, Any]:
    """Return the defaults of a model, and of every model that can stand in its fields, as plain data.

    Args:
        model: The model.
        above: Models that stand in the lock already where this one does, as in settings that contain their own kind.
    """
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if not field.is_required():
            found[name] = _plain(field.get_default(call_default_factory=True))
        inside = [variant for variant in _models(field.annotation) if variant not in above]
        variants = {variant.__name__: defaults(variant, above.union(inside)) for variant in inside}
        if variants:
            found[f"{name} may be"] = dict(sorted(variants.items()))
    return found


def changes(locked: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between the lock file and the code."""
    found = []
    for name in sorted(locked.keys() | now.keys()):
        if name not in locked:
            found.append(f"{name}: not locked yet; update the lock.")
        elif name not in now:
            found.append(f"{name}: locked but gone; update the lock.")
        elif locked[name]["version"] != now[name]["version"]:
            found.append(f"{name}: version {locked[name]['version']} became {now[name]['version']}; update the lock.")
        elif locked[name] != now[name]:
            version = now[name]["version"]
            found.append(f"{name}: a default changed at version {version}; raise the version, then update the lock.")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_plain(member) for member in value] if isinstance(value, tuple) else value


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def main() -> None:
    """Write the lock file anew."""
    bundled = [name for name in operation_names() if find_operation(name).is_bundled]
    LOCK_FILE.write_text(json.dumps(current(bundled), indent=1) + "\n")


if __name__ == "__main__":
    main()
