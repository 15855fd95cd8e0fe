"""Two files of weights, one command, one page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from typer.testing import Result

import weightscape as ws

OPTIONS = ("--data", "digits", "--points", "3", "--images", "60", "--device", "cpu", "--workers", "0")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two untrained networks as a plain loop saves them, and one of another width."""
    paths = []
    for seed, hidden in ((0, 12), (1, 12), (2, 8)):
        network = ws.build_model({"name": "mlp", "hidden": [hidden]}, shape=(1, 8, 8), classes=10, seed=seed)
        paths.append(tmp_path / f"net{seed}.pt")
        torch.save({"epoch": 3, "model": network.state_dict()}, paths[-1])
    return paths


def test_two_checkpoints_become_one_self_contained_page(
    cli: Callable[..., Result], files: list[Path], tmp_path: Path
) -> None:
    done = cli("diagnose", *files[:2], *OPTIONS)
    assert done.exit_code == 0, done.stderr
    assert "60 images of the test split of digits" in done.stdout
    page = Path(next(line for line in done.stdout.splitlines() if line.startswith("page")).split()[1])
    text = page.read_text()
    assert text.count('src="data:image/png;base64,') == 2
    assert "http" not in text.replace("http-equiv", "")
    assert "Only 60 images" in text
    assert "\n\nBetween them the loss rises" in text  # each finding is a paragraph
    before = page.stat().st_mtime_ns
    again = cli("diagnose", *files[:2], *OPTIONS)
    assert again.stdout == done.stdout
    assert page.stat().st_mtime_ns == before  # the same page is not written twice


def test_data_of_ones_own_is_as_good(cli: Callable[..., Result], files: list[Path], tmp_path: Path) -> None:
    images = torch.arange(100 * 64).reshape(100, 8, 8) % 251
    data = {"images": images.to(torch.uint8).numpy(), "labels": torch.arange(100).remainder(10).numpy()}
    numpy.savez(tmp_path / "mine.npz", **data)
    options = ("--data", tmp_path / "mine.npz", "--points", "3", "--device", "cpu", "--workers", "0")
    done = cli("diagnose", *files[:2], *options)
    assert done.exit_code == 0, done.stderr
    page = Path(next(line for line in done.stdout.splitlines() if line.startswith("page")).split()[1])
    assert "mine.npz" in page.read_text()


def test_the_command_and_a_study_have_the_same_key(
    cli: Callable[..., Result], files: list[Path], tmp_path: Path
) -> None:
    study = tmp_path / "two.yaml"
    study.write_text(
        f"study: two\nstages:\n  compared:\n    run: diagnose\n"
        f"    from: {{source: {files[0]}, target: {files[1]}}}\n"
        "    with: {data: digits, model: {name: mlp, hidden: [12]}, points: 3, images: 60}\n"
    )
    planned = json.loads(cli("plan", study, "--json").stdout)
    (done,) = json.loads(cli("diagnose", *files[:2], *OPTIONS, "--json").stdout)
    assert done["key"] in json.dumps(planned)
    assert done["status"] == "done"


def test_a_model_that_cannot_be_told_from_the_tensors_is_asked_for(cli: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "own.pt"
    torch.save({"layer.weight": torch.zeros(10, 64)}, path)
    asked = cli("diagnose", path, path, *OPTIONS)
    assert asked.exit_code == 2
    assert "--model" in asked.stderr
    assert "own.pt" in asked.stderr


def test_files_of_different_networks_are_named_before_anything_starts(
    cli: Callable[..., Result], files: list[Path]
) -> None:
    refused = cli("diagnose", files[0], files[2], *OPTIONS)
    assert refused.exit_code == 2
    assert "linear1.weight is (8, 64), not (12, 64)" in refused.stderr


def test_the_model_of_a_file_is_told_for_every_operation(cli: Callable[..., Result], files: list[Path]) -> None:
    done = cli("evaluate", files[0], "--data", "digits", "--json", "--workers", "0")
    assert json.loads(done.stdout)[0]["settings"]["model"]["hidden"] == [12]
