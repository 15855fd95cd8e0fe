"""Cores and GPUs are divided between processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.errors import SpecificationError
from weightscape.studies.executors import workplaces
from weightscape.studies.executors.workplaces import available_cores, plan_workplaces


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(workplaces, "available_cores", lambda: 8)


@pytest.mark.parametrize(("workers", "threads"), [(None, 8), (1, 8), (2, 4), (3, 2), (8, 1), (9, 1)])
@pytest.mark.usefixtures("cores")
def test_cores_are_divided_by_the_workers(workers: int | None, threads: int) -> None:
    places = plan_workplaces(workers=workers)
    assert len(places) == (workers or 1)
    assert {place.threads for place in places} == {threads}


@pytest.mark.usefixtures("cores")
def test_the_user_has_the_last_word_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_workplaces(workers=2, threads=7)[0].threads == 7
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert plan_workplaces(workers=2)[0].threads == 3, "what the environment allows is not exceeded"
    assert plan_workplaces(workers=4)[0].threads == 2


@given(st.integers(1, 4), st.integers(1, 3))
def test_every_gpu_gets_its_processes(gpus: int, per_gpu: int) -> None:
    places = plan_workplaces(device="cuda", per_gpu=per_gpu, count_gpus=lambda: gpus)
    devices = [place.device for place in places]
    assert sorted(devices) == sorted([f"cuda:{index}" for index in range(gpus)] * per_gpu)


def test_workers_take_gpus_in_turn_and_a_named_one_is_kept() -> None:
    two = [place.device for place in plan_workplaces(device="cuda", workers=3, count_gpus=lambda: 2)]
    assert two == ["cuda:0", "cuda:1", "cuda:0"]
    named = [place.device for place in plan_workplaces(device="cuda:1", workers=2, count_gpus=lambda: 2)]
    assert named == ["cuda:1", "cuda:1"]


@pytest.mark.parametrize(("device", "count"), [("cuda", 0), ("cuda:2", 2), ("cuda:0", 0)])
def test_a_gpu_that_is_not_there_is_refused(device: str, count: int) -> None:
    with pytest.raises(SpecificationError, match="weightscape doctor"):
        plan_workplaces(device=device, workers=1, count_gpus=lambda: count)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "what is this\n"}, None),
        ({}, None),
    ],
)
def test_a_container_may_use_what_its_quota_grants(
    files: dict[str, str], limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)), raising=False)
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert available_cores(tmp_path) == (limit or 4)
