"""Which versions were tried, and which this machine has."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

OLDEST_TORCH = "2.6.0"
"""The oldest PyTorch that was tried; docs/how-to/install.md says how far."""
NEWEST_TORCH = "2.15.0"
"""The newest one that was tried."""
EXTRAS = ("timm", "torchvision")
"""Libraries that nothing needs but what is named after them."""


def numbers(text: str) -> tuple[int, ...]:
    """Return the first three numbers of a version, to compare by.

    >>> numbers("2.13.0+cpu") < numbers("2.15")
    True
    """
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0])[:3])


def torch_remedy(installed: str) -> str:
    """Return what to do about a version of PyTorch that was not tried; empty for those between two that were."""
    if numbers(installed) < numbers(OLDEST_TORCH):
        return f"Older than {OLDEST_TORCH}, the oldest that was tried: install a newer one."
    if numbers(installed) > numbers(NEWEST_TORCH):
        return f"Newer than {NEWEST_TORCH}, the newest that was tried: it may work; tell us when it does not."
    return ""


def missing_packages() -> Iterator[tuple[str, str]]:
    """Yield the required packages that are absent or too old: name with bound, and what is installed."""
    for requirement in requires("weightscape") or ():
        found = re.fullmatch(r"([\w.-]+)\s*(?:>=([\w.]+))?", requirement)
        if found is None:  # extras carry a condition
            continue
        name, least = found[1], found[2] or "0"
        try:
            installed = version(name)
        except PackageNotFoundError:
            yield requirement, "not installed"
        else:
            if numbers(installed) < numbers(least):
                yield requirement, installed


def extras() -> Iterator[tuple[str, str]]:
    """Yield each installed extra and what goes wrong when it is imported; empty when it works."""
    for name in EXTRAS:
        if find_spec(name) is None:
            continue
        try:
            importlib.import_module(name)
        except Exception as error:  # a library built for another PyTorch may raise anything
            yield name, f"{type(error).__name__}: {error}"
        else:
            yield name, ""
