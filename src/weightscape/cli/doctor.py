"""Look at everything a run needs on this machine, and say what to do about what is missing."""

from __future__ import annotations

import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from weightscape.cli.options import DataDir, Json, Workspace
from weightscape.cli.verbs import leave
from weightscape.errors import WeightscapeError

State = Literal["ok", "note", "problem"]
_LITTLE_SPACE = 2 * 2**30


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        state: ``note`` where something is unusual but works.
        found: What there is.
        remedy: What to do about it.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


def doctor(workspace: Workspace = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Check whether this machine has what runs need."""
    from weightscape.cli.printing import print_json, styled

    checks = [*_python(), *_torch(), *_workspace(workspace), *_data(data_dir)]
    problems = sum(check.state == "problem" for check in checks)
    if as_json:
        print_json({"problems": problems, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            print(styled(_line(check), check.state))
        print("Everything needed is here." if not problems else f"{problems} problem{'s' * (problems != 1)} to solve.")
    leave(1 if problems else 0)


def _line(check: Check) -> str:
    text = f"{check.state:<8} {check.name:<10} {check.found}"
    return f"{text}\n{'':<20}{check.remedy}" if check.remedy else text


def _python() -> Iterator[Check]:
    from weightscape.cli.versions import missing_packages
    from weightscape.studies.workspace.environment import packages

    yield Check("python", "ok", f"{platform.python_version()} at {sys.executable}")
    found = ", ".join(f"{name} {version}" for name, version in packages().items())
    missing = ", ".join(f"{requirement} ({installed})" for requirement, installed in missing_packages())
    remedy = f"Needed: {missing}. Run: pip install --upgrade weightscape" if missing else ""
    yield Check("packages", "problem" if missing else "ok", found, remedy)


def _torch() -> Iterator[Check]:
    from weightscape.cli.versions import NEWEST_TORCH, OLDEST_TORCH, torch_remedy

    try:
        import torch
    except Exception as error:  # a broken installation may raise anything
        yield Check("torch", "problem", f"cannot be imported: {error}", "Install it: https://pytorch.org/get-started")
        return
    remedy = torch_remedy(torch.__version__)
    yield Check(
        "torch", "note" if remedy else "ok", f"{torch.__version__}; tried {OLDEST_TORCH} to {NEWEST_TORCH}", remedy
    )
    yield from _extras()
    yield from _threads(torch.get_num_threads())
    blas = _blas_name(torch.__config__.show())
    slow = blas != "mkl" and platform.machine() in {"x86_64", "AMD64"}
    remedy = "Builds of torch with MKL are faster on this processor; pip's wheels have it." if slow else ""
    yield Check("blas", "note" if slow else "ok", blas, remedy)
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if names:
        yield Check("device", "ok", ", ".join(f"cuda:{index} {name}" for index, name in enumerate(names)))
    elif Path("/dev/nvidiactl").exists():
        remedy = "Install a torch built for CUDA, and a driver that is new enough for it."
        yield Check("device", "note", f"cpu; torch {torch.__version__} does not see this machine's NVIDIA GPU", remedy)
    else:
        yield Check("device", "ok", "cpu (no GPU)")


def _extras() -> Iterator[Check]:
    from weightscape.cli.versions import EXTRAS, extras

    found = dict(extras())
    for name, error in found.items():
        if error:
            remedy = "Only models named after it need it. Install builds of torch and torchvision that belong together."
            yield Check("extras", "note", f"{name} is installed, but fails to import: {error}", remedy)
    works = [name for name, error in found.items() if not error]
    absent = [name for name in EXTRAS if name not in found]
    parts = [", ".join(works), f"{', '.join(absent)} not installed (optional)" if absent else ""]
    if any(parts):
        yield Check("extras", "ok", "; ".join(part for part in parts if part))


def _blas_name(configuration: str) -> str:
    found = re.search(r"BLAS_INFO=(\w+)", configuration)
    return found[1] if found else "unknown"


def _threads(threads: int) -> Iterator[Check]:
    from weightscape.studies.executors.workplaces import available_cores

    cores = available_cores()
    if threads > cores:
        remedy = "Runs use no more threads than cores; for scripts of your own set OMP_NUM_THREADS."
        yield Check("threads", "note", f"{threads} threads on {cores} cores", remedy)
    else:
        yield Check("threads", "ok", f"{threads} of {cores} cores")


def _workspace(given: Path | None) -> Iterator[Check]:
    from weightscape.studies.workspace.store import workspace_folder

    folder = workspace_folder(given).absolute()
    home = next(place for place in (folder, *folder.parents) if place.exists())
    remedy = "Choose another with --workspace or WEIGHTSCAPE_WORKSPACE."
    try:
        with tempfile.TemporaryDirectory(dir=home, prefix=".weightscape-") as draft:
            locks = _locks_work(Path(draft))
    except OSError as error:
        yield Check("workspace", "problem", f"{folder} cannot be written: {error.strerror}", remedy)
        return
    yield Check("workspace", "ok", f"{folder}{'' if folder.exists() else ' (will be made)'}")
    if not locks:
        text = "file locks do not work there"
        yield Check("locks", "note", text, "Two runs at once may compute the same task twice; nothing breaks.")
    free = shutil.disk_usage(home).free
    few = free < _LITTLE_SPACE
    yield Check("disk", "note" if few else "ok", f"{free / 2**30:.1f} GiB free", remedy if few else "")


def _locks_work(folder: Path) -> bool:
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / "lock", timeout=1):
            return True
    except (OSError, NotImplementedError, Timeout):
        return False


def _data(data_dir: Path | None) -> Iterator[Check]:
    from weightscape.data.catalogue import data_root, names, summary

    root = data_root(data_dir)
    found = {name: summary(name, data_dir).present for name in names()}
    here = [name for name, present in found.items() if present]
    absent = [name for name, present in found.items() if not present]
    yield Check("data", "ok" if here else "problem", f"here: {', '.join(here) or 'none'}; folder {root}")
    if absent:
        yield Check("data", "note", f"not here: {', '.join(absent)}", "weightscape data prepare NAME, if you need it.")
    try:
        from weightscape.data.catalogue import fingerprint

        for name in here:
            fingerprint(name, data_dir)
    except WeightscapeError as error:
        yield Check("data", "problem", str(error), "Fetch its files again: weightscape data prepare NAME")
