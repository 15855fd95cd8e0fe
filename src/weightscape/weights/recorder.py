"""Save snapshots from a training loop of one's own."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import nn

from weightscape.errors import StoreError, TrainingError
from weightscape.step import Step
from weightscape.weights.algebra import Weights
from weightscape.weights.files import save_weights
from weightscape.weights.runs import ABANDONED, RUN_FILE

_MOST_WAITING = 2
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_LOG = logging.getLogger(__name__)


class Recorder:
    """Keeps the weights of a network while a loop of one's own trains it.

    ::

        recorder = Recorder("runs/seed1", model, every="1ep", settings={"seed": 1, "lr": 0.1})
        for epoch in range(15):
            for inputs, labels in loader:
                ...  # forward, backward, optimizer.step()
                recorder.step()
            recorder.end_epoch()

    The weights are copied at once and written by a thread in the background, each file under its name only when it is
    complete: a process that is killed leaves whole snapshots. The folder is read by :meth:`Trajectory.open`,
    :meth:`Population.from_files` and ``run: import`` without options; the settings become columns there.

    Args:
        folder: Folder of this run, which is created.
        model: The network; it is read, never changed. DataParallel and torch.compile are looked through.
        every: How often: each so many epochs (``1ep``) or iterations (``100it``), or a list of steps.
        settings: What tells this run from others: numbers, texts and mappings of them.
        start: Where the loop continues an earlier one in this folder, such as ``7ep``. Later snapshots of that one are
            moved to ``abandoned``. By default the weights of now are the first snapshot, ``0ep``.

    Raises:
        StoreError: If the folder cannot be written, or holds a run that is not continued or had other settings.
        TrainingError: If `every` makes no sense.
    """

    def __init__(
        self,
        folder: str | Path,
        model: nn.Module,
        *,
        every: str | Step | Sequence[str | Step] = "1ep",
        settings: Mapping[str, Any] | None = None,
        start: str | Step | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._model = _unwrapped(model)
        self._every = _Every(every)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._waiting: list[Future[None]] = []
        self._epoch, self._iteration, self._total = 0, 0, 0
        self._record: dict[str, Any] = {"settings": _plain(settings or {}), "iterations_per_epoch": None}
        self._begin(None if start is None else Step.parse(start))

    @property
    def now(self) -> Step:
        """The present step."""
        return Step(self._epoch, self._iteration)

    def step(self) -> None:
        """Count one iteration, and keep the weights if it is time to.

        Raises:
            StoreError: If an earlier snapshot could not be written.
        """
        self._iteration += 1
        self._total += 1
        if self._every.is_iteration(self.now, self._total):
            self.save()

    def end_epoch(self) -> None:
        """Count one epoch, and keep the weights if it is time to.

        Raises:
            StoreError: If an earlier snapshot could not be written.
        """
        self._learn_length()
        self._epoch += 1
        self._iteration = 0
        if self._every.is_epoch(self._epoch):
            self.save()

    def save(self) -> None:
        """Keep the weights of now, whatever the step.

        Raises:
            StoreError: If an earlier snapshot could not be written.
        """
        while len(self._waiting) >= _MOST_WAITING:
            self._waiting.pop(0).result()
        self._waiting = [future for future in self._waiting if not (future.done() and future.result() is None)]
        path = self.folder / f"{self.now}.safetensors"
        self._waiting.append(self._writer.submit(save_weights, path, _copied(self._model)))

    def close(self) -> None:
        """Wait until everything is written; the end of the process waits too.

        Raises:
            StoreError: If a snapshot could not be written.
        """
        while self._waiting:
            self._waiting.pop(0).result()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _begin(self, start: Step | None) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in self.folder.glob(".*.safetensors.*"):  # what a killed process was writing
                left.unlink(missing_ok=True)
            there = {Step.parse(file.stem): file for file in self.folder.glob("*.safetensors")}
            if there:
                self._continue(there, start)
            elif start is not None:
                raise StoreError(f"{self.folder} holds no snapshots that could be continued at {start}.")
            self._write_record()
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be written: {error.strerror or error}.") from error
        if start is None:
            self.save()

    def _continue(self, there: Mapping[Step, Path], start: Step | None) -> None:
        if start is None:
            raise StoreError(
                f"{self.folder} holds a run already, until {max(there)}. Give this run a folder of its own, or say at "
                f"which step your loop continues that one: start='{max(there)}'."
            )
        before = _read(self.folder / RUN_FILE)
        if before.get("settings", {}) != self._record["settings"]:
            raise StoreError(
                f"{self.folder} holds a run with the settings {before.get('settings', {})}, not "
                f"{self._record['settings']}. Give this run a folder of its own."
            )
        self._record = {**self._record, **before}
        self._epoch, self._iteration = start.epoch, start.iteration
        self._total = start.total(before.get("iterations_per_epoch") or 0)
        later = [file for step, file in there.items() if step > start]
        for file in later:
            aside = self.folder / ABANDONED / file.name
            aside.parent.mkdir(exist_ok=True)
            os.replace(file, aside)
        if later:
            _LOG.warning("%d snapshots after %s were moved to %s.", len(later), start, self.folder / ABANDONED)

    def _learn_length(self) -> None:
        """Note how many iterations an epoch has, from the first whole one."""
        if self._iteration and self._record["iterations_per_epoch"] is None and self._total == self._iteration:
            self._record["iterations_per_epoch"] = self._iteration
            self._write_record()

    def _write_record(self) -> None:
        draft = self.folder / f".{RUN_FILE}.{os.getpid()}"
        draft.write_text(json.dumps(self._record, indent=1) + "\n", encoding="utf-8")
        os.replace(draft, self.folder / RUN_FILE)


class _Every:
    """When to keep the weights."""

    def __init__(self, every: str | Step | Sequence[str | Step]) -> None:
        self._steps: frozenset[Step] = frozenset()
        self._epochs = self._iterations = 0
        if not isinstance(every, str | Step):
            self._steps = frozenset(map(Step.parse, every))
            return
        period = Step.parse(every)
        if bool(period.epoch) == bool(period.iteration):
            raise TrainingError(f"Expected every='1ep', '100it' or a list of steps, received {str(every)!r}.")
        self._epochs, self._iterations = period.epoch, period.iteration

    def is_epoch(self, epoch: int) -> bool:
        return Step(epoch) in self._steps or bool(self._epochs and epoch % self._epochs == 0)

    def is_iteration(self, now: Step, total: int) -> bool:
        if self._steps:
            return now in self._steps or Step(0, total) in self._steps
        return bool(self._iterations and total % self._iterations == 0)


def _unwrapped(model: nn.Module) -> nn.Module:
    inner = getattr(model, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        return _unwrapped(inner)
    return _unwrapped(model.module) if isinstance(model, _WRAPPERS) else model


@torch.no_grad()
def _copied(model: nn.Module) -> Weights:
    """Return a copy of the weights on the CPU, in which tied tensors are still tied."""
    state = model.state_dict(keep_vars=True)
    copied = {id(tensor): tensor for tensor in state.values()}
    copied = {name: tensor.detach().to("cpu", copy=True) for name, tensor in copied.items()}
    return {name: copied[id(tensor)] for name, tensor in state.items()}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(dict(settings), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise StoreError(f"Expected settings of numbers, texts and mappings of them: {error}.") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}). Write the settings anew, or remove it.") from error
