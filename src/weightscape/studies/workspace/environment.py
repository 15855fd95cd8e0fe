"""What ran a task: recorded beside its result, never part of its key."""

from __future__ import annotations

import functools
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("weightscape", "torch", "numpy", "scipy")


@functools.cache
def packages() -> dict[str, str]:
    """Return the versions of the packages that results depend on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def environment(device: str = "cpu") -> dict[str, Any]:
    """Return the machine, the device, the threads and the versions that a result was computed with."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": _device_name(device),
        "threads": _threads(),
        **packages(),
    }


def _threads() -> int | None:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else None


def _device_name(device: str) -> str:
    """Return the kind of a device and its model; which of several equal GPUs it was says nothing."""
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_available():
        return device
    return f"{device.partition(':')[0]} ({torch.cuda.get_device_name(device)})"


@functools.cache
def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
