"""From files to runs: which snapshots belong together, at which steps, with which settings. Loads no torch.

Files in one folder are one run, unless settings in their names differ. Headers are read, weights are not.
"""

from __future__ import annotations

import glob
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from weightscape.errors import StoreError
from weightscape.step import Step
from weightscape.weights.archives import Unfinished
from weightscape.weights.checkpoints import read_checkpoint
from weightscape.weights.file_names import FileName, StepPattern
from weightscape.weights.heads import read_heads
from weightscape.weights.likeness import Snapshot, check_same_architecture

RUN_FILE = "run.json"
"""Beside the snapshots of a run: its settings and the length of an epoch, as a Recorder writes them."""
ABANDONED = "abandoned"
"""Beside the snapshots of a run: those after the step from which it was begun anew."""
SUFFIXES = (".pt", ".pth", ".ckpt", ".tar", ".bin", ".safetensors")
"""What names of files of weights end in."""
_DEPTH = 4
"""Levels of folders in which a message looks for files."""
_LOG = logging.getLogger(__name__)


class NoFiles(StoreError):
    """A pattern names no file."""


@dataclass(frozen=True)
class FoundRun:
    """The files of one run.

    Attributes:
        path: The folder, or the file if there is one alone, as it was found.
        settings: What names, ``run.json`` and the files say of it.
        checkpoints: Its files by step, in the order of time.
        iterations_per_epoch: Length of an epoch, where known.
    """

    path: str
    settings: Mapping[str, Any]
    checkpoints: Mapping[Step, Snapshot]
    iterations_per_epoch: int | None = None

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by name of its first file."""
        return dict(next(iter(self.checkpoints.values())).shapes)


class _File(NamedTuple):
    path: str
    name: FileName
    read: Snapshot | Unfinished


def find_files(patterns: str | Sequence[str], folder: Path | None = None) -> list[str]:
    """Return the files that patterns such as ``runs/*/ep*.pt`` name, in order.

    Args:
        patterns: Paths, with ``*``, ``?``, ``[...]`` and ``**``; of a folder all files of weights in it are meant.
            What a Recorder keeps beside the snapshots of a run is passed over, unless exactly its path is given.
        folder: Where relative ones begin; the current folder by default.

    Raises:
        NoFiles: If a pattern names no file.
    """
    found: dict[str, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        text = os.path.expanduser(os.fspath(pattern))
        whole = text if folder is None else os.path.join(folder, text)
        # A path of exactly this name comes before the pattern: folders may be called "runs [old]".
        paths = [whole] if os.path.exists(whole) else _snapshots(glob.glob(whole, recursive=True))
        files = sorted(file for path in paths for file in _files(path))
        if not files:
            found_there = f" {what_is_there(whole)}" if os.path.isdir(whole) else ""
            raise NoFiles(
                f"No file of weights is named {pattern!r}.{found_there} Looked for it from {folder or Path.cwd()}."
            )
        found |= dict.fromkeys(files)
    return list(found)


def what_is_there(path: str) -> str:
    """Return what a path that names no file of weights leads to, and which pattern would name files there."""
    if not os.path.isdir(path):
        return "No file has this path."
    for depth in range(_DEPTH):
        for suffix in SUFFIXES:
            pattern = os.path.join(*["*"] * depth, f"*{suffix}")
            if next(glob.iglob(os.path.join(glob.escape(path), pattern)), None) is not None:
                return f"It is a folder; the files in it are named by {os.path.join(path, pattern)!r}."
    return "It is a folder in which there are no files of weights."


def _snapshots(paths: Iterable[str]) -> list[str]:
    """Return what a pattern found, without what a Recorder keeps beside its snapshots."""
    return [path for path in paths if os.path.basename(path) != RUN_FILE and not _is_abandoned(Path(path))]


def _is_abandoned(path: Path) -> bool:
    folders = [folder for folder in (path, path.parent) if folder.name == ABANDONED]
    return any((folder.parent / RUN_FILE).exists() for folder in folders)


def _files(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    # os.path: the one of scandir raises an error for a link that leads to itself
    return [entry.path for entry in os.scandir(path) if entry.name.endswith(SUFFIXES) and os.path.isfile(entry.path)]


def find_runs(
    patterns: str | Sequence[str],
    *,
    step: str | None = None,
    member: str | None = None,
    expected: Mapping[str, tuple[int, ...]] | None = None,
    folder: Path | None = None,
) -> list[FoundRun]:
    """Return the runs that files amount to, in the order of their paths.

    The newest file of a run that is still being written is left out with a warning.

    Args:
        patterns: Files, see :func:`find_files`.
        step: How names are read, see :class:`StepPattern`. Without a step in the name, the epoch or the iteration that
            the file itself mentions is taken.
        member: Which part of the files is meant, where they hold several networks.
        expected: Shapes by name of the network.
        folder: Where relative patterns begin.

    Raises:
        StoreError: If files cannot be read, have no step, or share one; or are of different architectures. The message
            names them.
    """
    pattern = StepPattern(step)
    groups: dict[str, list[_File]] = {}
    for path, read in _read(find_files(patterns, folder), member, expected).items():
        name = pattern.read(Path(path).as_posix())
        groups.setdefault(json.dumps([name.folder, name.settings]), []).append(_File(path, name, read))
    runs = [_run(files, step) for files in groups.values()]
    check_same_architecture(checkpoint for run in runs for checkpoint in run.checkpoints.values())
    return runs


def _run(files: Sequence[_File], step: str | None) -> FoundRun:
    # Of files with the same time, the one that is not complete is the one being written.
    newest = max(files, key=lambda file: (os.stat(file.path).st_mtime_ns, isinstance(file.read, Unfinished)))
    whole: list[tuple[str, FileName, Snapshot]] = []
    for file in files:
        if not isinstance(file.read, Unfinished):
            whole.append((file.path, file.name, file.read))
        elif file is not newest or len(files) == 1:
            raise StoreError(f"{file.read} It is not the newest file of several of its run; remove or replace it.")
        else:
            _LOG.warning("%s is left out: it is not complete; its run may still be writing it.", file.path)
    snapshots = _by_step(whole, "" if step is None else f" in the form {step!r}")
    folder = files[0].name.folder
    beside = _beside(Path(folder or "."))
    settings = {**_agreed(snapshots), **beside.get("settings", {}), **files[0].name.settings}
    path = folder if len(files) > 1 else files[0].path
    return FoundRun(path, settings, dict(sorted(snapshots.items())), beside.get("iterations_per_epoch"))


def _read(
    paths: Sequence[str], member: str | None, expected: Mapping[str, tuple[int, ...]] | None
) -> dict[str, Snapshot | Unfinished]:
    if expected is None:
        return dict(zip(paths, read_heads(paths, member), strict=True))
    found: dict[str, Snapshot | Unfinished] = {}
    for path in paths:
        try:
            found[path] = read_checkpoint(path, member=member, expected=expected)
        except Unfinished as error:
            found[path] = error
    return found


def _by_step(files: Iterable[tuple[str, FileName, Snapshot]], asked: str) -> dict[Step, Snapshot]:
    snapshots: dict[Step, Snapshot] = {}
    for path, name, checkpoint in files:
        step = name.step or _inside(checkpoint)
        if step is None:
            raise StoreError(
                f"{path} has no step: neither its name says one{asked} nor the file. Say how names are read, such as "
                "step='ep(?P<epoch>\\d+)' or step='ep{epoch}.pt', or at which step all were saved: step='15ep'."
            )
        if step in snapshots:
            raise StoreError(
                f"{snapshots[step].path} and {path} are of one run and both of step {step}. If they are of two "
                "runs, say where names tell them apart: step='seed{seed}_ep{epoch}.pt', for instance; else narrow the "
                "pattern of files."
            )
        snapshots[step] = checkpoint
    return snapshots


def _inside(checkpoint: Snapshot) -> Step | None:
    if checkpoint.epoch is not None:
        return Step(epoch=checkpoint.epoch)
    return None if checkpoint.iteration is None else Step(iteration=checkpoint.iteration)


def _beside(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        return _checked(found) if isinstance(found, dict) else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder / RUN_FILE} is damaged ({error}). Remove it, or write the settings anew.") from error


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    """Return what a run file says, if it is what a Recorder writes.

    Raises:
        ValueError: If it is not.
    """
    settings, length = found.get("settings", {}), found.get("iterations_per_epoch")
    if not isinstance(settings, dict):
        raise ValueError(f"expected settings by name, received {settings!r}")
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise ValueError(f"expected at least one iteration per epoch, received {length!r}")
    return found


def _agreed(snapshots: Mapping[Step, Snapshot]) -> dict[str, Any]:
    """Return the settings that all files of a run agree about.

    Raises:
        StoreError: If their seeds differ, so that they are of several runs.
    """
    first, *others = snapshots.values()
    agreed = dict(first.settings)
    for other in others:
        differing = [name for name in agreed if other.settings.get(name) != agreed[name]]
        if "seed" in differing and "seed" in other.settings:
            raise StoreError(
                f"{first.path} and {other.path} are in one folder, but of runs with the seeds "
                f"{agreed['seed']} and {other.settings['seed']}. Say where names tell runs apart: "
                "step='seed{seed}_ep{epoch}.pt', for instance."
            )
        for name in differing:
            _LOG.warning("%s says another %r than %s; it is no setting of the run.", *_paths(other, name, first))
            del agreed[name]
    return agreed


def _paths(other: Snapshot, name: str, first: Snapshot) -> tuple[Path, str, Path]:
    return other.path, name, first.path
