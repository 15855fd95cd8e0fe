"""Keep freed memory in the process instead of giving it back to the system after every step."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to hold on to freed memory; call it once, at the start of a process that trains.

    By default, glibc maps every large activation anew and unmaps it when it is freed, so that the kernel clears the
    same pages again in each step. Both options are needed: no mapping alone does not stop the trimming. The price is
    that the process stays as large as it once was, which is why this is a call and no side effect of an import.

    Measured on one core, in training steps: page faults fall from thousands to none, and steps are 1.1 times faster for
    narrow convolutional networks and 1.02 times for a full conv8.

    Returns:
        Whether the options were set; ``False`` where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST))
