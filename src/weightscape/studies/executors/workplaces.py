"""Where tasks are computed: how many processes, on which devices, with how many threads each."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightscape.errors import Problem, SpecificationError

_THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
)
_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
_CGROUP = Path("/sys/fs/cgroup")
_COUNT_GPUS = "import torch; print(torch.cuda.device_count())"
_TORCH = (
    ("get_default_dtype", "set_default_dtype"),
    ("is_grad_enabled", "set_grad_enabled"),
    ("get_float32_matmul_precision", "set_float32_matmul_precision"),
    ("are_deterministic_algorithms_enabled", "use_deterministic_algorithms"),
)


@dataclass(frozen=True)
class Workplace:
    """What one process computes with.

    Attributes:
        device: Torch device.
        threads: CPU threads; None leaves the number as it is.
    """

    device: str = "cpu"
    threads: int | None = None


def plan_workplaces(
    *,
    device: str = "cpu",
    workers: int | None = None,
    per_gpu: int | None = None,
    threads: int | None = None,
    count_gpus: Callable[[], int] | None = None,
) -> tuple[Workplace, ...]:
    """Divide the cores of this machine, and its GPUs if asked for, between processes.

    Args:
        device: ``cpu``, ``cuda`` (all GPUs in turn), ``cuda:1`` (this one) or ``mps``.
        workers: Number of processes; 1 by default.
        per_gpu: Number of processes for each GPU, instead of `workers`.
        threads: CPU threads of each process; by default the cores divided by the processes, and no more than
            ``OMP_NUM_THREADS`` if that is set.
        count_gpus: Finds the number of GPUs; torch is asked, in another process, by default.

    Raises:
        SpecificationError: If there is no GPU but one is needed, or both `workers` and `per_gpu` are given.
    """
    if per_gpu is not None and workers is not None:
        raise SpecificationError([Problem("--per-gpu", "--workers or --per-gpu", "both", "Leave one of them out.")])
    devices = _devices(device, per_gpu, count_gpus or visible_gpus)
    number = workers or 1 if per_gpu is None else per_gpu * len(devices)
    share = threads or max(1, min(available_cores() // number, _allowed_threads()))
    return tuple(Workplace(devices[index % len(devices)], share) for index in range(number))


def _devices(device: str, per_gpu: int | None, count_gpus: Callable[[], int]) -> list[str]:
    kind, _, number = device.partition(":")
    if kind == "mps" and sys.platform != "darwin":
        remedy = "Use --device cpu, or look at 'weightscape doctor'."
        raise SpecificationError([Problem("--device", "a device of this machine", repr(device), remedy)])
    if kind != "cuda":
        if per_gpu is not None:
            remedy = "Use --workers, or choose the GPUs with --device cuda."
            raise SpecificationError([Problem("--per-gpu", "a run on GPUs", f"the device {device!r}", remedy)])
        return [device]
    count = count_gpus()
    if int(number or 0) >= count:
        found = f"{count} GPU{'s' * (count != 1)}" if count else "no GPU"
        remedy = f"Torch sees {found} here. Use --device cpu, or look at 'weightscape doctor'."
        raise SpecificationError([Problem("--device", "a device of this machine", repr(device), remedy)])
    return [device] if number else [f"cuda:{index}" for index in range(count)]


@functools.cache
def visible_gpus() -> int:
    """Return the number of CUDA devices, without loading torch into this process; it takes seconds to load."""
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        return int(torch.cuda.device_count())
    if not any(Path(driver).exists() for driver in _GPU_DRIVERS):
        return 0
    asked = subprocess.run([sys.executable, "-P", "-c", _COUNT_GPUS], capture_output=True, text=True, check=False)
    text = asked.stdout.strip()
    return int(text) if text.isdigit() else 0


def available_cores(cgroup: Path = _CGROUP) -> int:
    """Return the number of cores that this process may use: its affinity, and the quota of its container.

    Args:
        cgroup: Where the quotas of control groups are, version 1 or 2.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, math.ceil(_quota(cgroup))))


def _quota(cgroup: Path) -> float:
    """Return how many cores' worth of time a control group grants; a large number without a limit."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((cgroup / name).read_text(encoding="ascii") for name in names).split()
            if quota not in {"max", "-1"}:
                return int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return float(2**20)


def _allowed_threads() -> int:
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(text) if text.isdigit() and int(text) else 2**20


def thread_environment(threads: int | None) -> dict[str, str]:
    """Return the environment variables that numerical libraries read when they are loaded."""
    return {} if threads is None else dict.fromkeys(_THREAD_VARIABLES, str(threads))


def use_threads(threads: int | None) -> None:
    """Set the number of CPU threads, for libraries loaded from now on and for torch if it is loaded already."""
    os.environ.update(thread_environment(threads))
    torch: Any = sys.modules.get("torch")
    if torch is not None and threads is not None:
        torch.set_num_threads(threads)


def torch_settings() -> tuple[Any, ...] | None:
    """Return what torch has been told to do in the whole of this process; None if it is not loaded."""
    torch: Any = sys.modules.get("torch")
    return None if torch is None else tuple(getattr(torch, get)() for get, _ in _TORCH)


def put_back(settings: tuple[Any, ...] | None) -> None:
    """Undo what the code of a task has told torch to do from then on, so that no task depends on those before it.

    Args:
        settings: What :func:`torch_settings` returned; None for what a new process begins with.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return
    before = (torch.float32, True, "highest", False) if settings is None else settings
    for (get, put), value in zip(_TORCH, before, strict=True):
        if getattr(torch, get)() != value:
            getattr(torch, put)(value)
