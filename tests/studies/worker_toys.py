"""Operations that misbehave in ways that only a process of their own survives."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weightscape.errors import Interrupted
from weightscape.operation import Context, operation
from weightscape.results import Result

if TYPE_CHECKING:
    from weightscape.results import Table


@dataclass(frozen=True)
class Seen(Result):
    device: str
    threads: str
    pid: int


@dataclass(frozen=True)
class Number(Result):
    number: int


@dataclass(frozen=True)
class Lines(Result):
    lines: Table
    number: int


@operation("worker-toy-look", version=1)
def look(*, seed: int = 0, context: Context) -> Seen:
    """Say where this runs."""
    return Seen(context.device, os.environ.get("OMP_NUM_THREADS", ""), os.getpid())


@operation("worker-toy-torch", version=1)
def use_torch(*, meddle: int | None = None) -> Number:
    """Return how many threads torch has; change the number for whoever comes next."""
    import torch

    found = torch.get_num_threads()
    if meddle is not None:
        torch.set_num_threads(meddle)
    return Number(found)


@operation("worker-toy-settings", version=1)
def change_settings(*, seed: int = 0) -> Number:
    """Return how many settings of torch are not as in a new process; change all of them for whoever comes next."""
    import torch

    usual = (torch.float32, True, "highest", False)
    found = (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
    )
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True)
    return Number(sum(one != other for one, other in zip(found, usual, strict=True)))


@operation("worker-toy-doubled", version=1)
def doubled(*, seed: int = 0, context: Context) -> Number:
    """Return twice, in this process and, before that, in a copy of it."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    elif seed == 1:
        raise ValueError("in the copy")
    elif seed == 2:
        context.progress(0.5, "in the copy")
    return Number(seed if child else -1)


@operation("worker-toy-die", version=1)
def die(*, signal: int | None = None, code: int | None = None) -> Number:
    """End the process, by a signal or with an exit code."""
    print("last words", file=sys.stderr)
    if signal is not None:
        os.kill(os.getpid(), signal)
        time.sleep(60)
    if code is not None:
        os._exit(code)
    return Number(1)


@operation("worker-toy-stuck", version=1)
def stuck(*, begun: str) -> Number:
    """Spend minutes inside one call of a C library that keeps all other threads from running too."""
    Path(begun).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(600)
    return Number(1)


@operation("worker-toy-wait", version=1)
def wait(*, begun: str, context: Context) -> Number:
    """Wait until asked to stop, save that, and finish at the second time."""
    assert context.partial is not None
    saved = context.partial / "saved"
    if saved.exists():
        return Number(len(saved.read_text()))
    Path(begun).write_text(str(os.getpid()))
    while not context.should_stop():
        time.sleep(0.01)
    saved.write_text("half")
    raise Interrupted("saved")


@operation("worker-toy-speak", version=1)
def speak(*, text: str) -> Number:
    """Print to both streams."""
    print(f"out {text}")
    print(f"err {text}", file=sys.stderr)
    os.write(1, b"raw bytes, no newline")
    return Number(1)


@operation("worker-toy-slow", version=1)
def slow(*, seed: int, computed: str, seconds: float = 0.05) -> Lines:
    """Leave a mark that only one process can make."""
    import pandas

    time.sleep(seconds)
    with open(Path(computed) / f"slow-{seed}", "x", encoding="utf-8") as file:
        file.write(str(os.getpid()))
    return Lines(pandas.DataFrame({"height": [float(seed)]}), seed)


@operation("worker-toy-add", version=1)
def add(source: Table, target: Table, *, computed: str) -> Number:
    """Add what two others found."""
    total = int(source["height"].sum() * 10 + target["height"].sum())
    with open(Path(computed) / f"add-{total}", "x", encoding="utf-8") as file:
        file.write(str(os.getpid()))
    return Number(total)


@operation("worker-toy-fork", version=1)
def fork(*, left: str) -> Number:
    """Die, and leave a process behind that keeps every pipe open."""
    child = os.fork()
    if child == 0:
        time.sleep(120)
        os._exit(0)
    Path(left).write_text(str(child))
    os._exit(9)
