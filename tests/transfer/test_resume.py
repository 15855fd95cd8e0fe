"""Interrupted transfers end like uninterrupted ones, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from weightscape.data.dataset import Dataset
from weightscape.errors import Interrupted, StoreError
from weightscape.symmetry.matching import match_pairs
from weightscape.transfer import methods
from weightscape.transfer.result import TransferResult
from weightscape.transfer.trajectory import transfer_trajectory
from weightscape.weights.trajectory import Trajectory

STEPS = 4


@pytest.fixture
def transfer(model: nn.Module, digits: Dataset, source: Trajectory, other: Trajectory) -> Any:
    def run(**options: Any) -> TransferResult:
        settings = {"steps": STEPS, "batch_size": 64, "target_trajectory": other, "model": model, "dataset": digits}
        return transfer_trajectory(source, other.first, **(settings | options))

    return run


def after(calls: int) -> Callable[[], bool]:
    """Return a question that is answered by yes from one call on."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


def assert_same(left: TransferResult, right: TransferResult) -> None:
    assert left.steps.equals(right.steps)
    assert left.permutation == right.permutation
    assert all(torch.equal(tensor, right.last[name]) for name, tensor in left.last.items())
    assert all(torch.equal(tensor, right.best[name]) for name, tensor in left.best.items())


@pytest.mark.parametrize("method", ["gmt", "fgmt", "oracle", "naive"])
def test_stopped_at_any_moment_and_continued_is_as_if_nothing_had_happened(
    transfer: Any, tmp_path: Path, method: str
) -> None:
    whole = transfer(method=method)
    stops = 0
    for calls in range(0, 60, 5):
        folder = tmp_path / str(calls)
        try:
            transfer(method=method, partial=folder, should_stop=after(calls))
        except Interrupted:
            stops += 1
            assert_same(transfer(method=method, partial=folder), whole)
    assert stops >= (2 if method in {"gmt", "fgmt"} else 1)


def test_killed_after_every_step_it_still_ends_the_same(transfer: Any, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(done: int, total: int, row: Any) -> None:
        raise Killed

    for _ in range(STEPS + 1):
        with pytest.raises(Killed):
            transfer(method="fgmt", partial=tmp_path, on_step=kill)
    assert_same(transfer(method="fgmt", partial=tmp_path, on_step=kill), transfer(method="fgmt"))


def test_finished_steps_of_gmt_are_not_matched_again(
    transfer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = transfer(method="gmt", partial=tmp_path)
    (tmp_path / f"step-{STEPS:04d}.json").unlink()
    solved: list[int] = []

    def counting(*args: Any, **options: Any) -> Any:
        solved.append(1)
        return match_pairs(*args, **options)

    monkeypatch.setattr(methods, "match_pairs", counting)
    assert_same(transfer(method="gmt", partial=tmp_path), whole)
    assert len(solved) == 1


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_a_damaged_step_and_all_after_it_are_done_again(
    transfer: Any, tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = transfer(method="fgmt", partial=tmp_path)
    (tmp_path / f"step-0002.{suffix}").write_bytes(b"torn")
    assert_same(transfer(method="fgmt", partial=tmp_path), whole)
    assert "goes on from step 2" in caplog.text


def test_steps_of_another_transfer_are_refused(transfer: Any, tmp_path: Path) -> None:
    transfer(method="naive", partial=tmp_path)
    with pytest.raises(StoreError, match=r"another transfer: method is .fgmt. here"):
        transfer(method="fgmt", seed=5, partial=tmp_path)


def test_the_times_of_all_parts_are_added(transfer: Any, tmp_path: Path) -> None:
    first = transfer(method="fgmt", partial=tmp_path)
    again = transfer(method="fgmt", partial=tmp_path)
    assert again.gradient_seconds == first.gradient_seconds
